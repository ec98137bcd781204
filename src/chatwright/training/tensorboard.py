"""TensorBoard, where the extra is installed: the same numbers as metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatwright.errors import UserError


class EventWriter:
    """Writes event files into `directory`; events past `step` (a resumed run makes them again) are hidden."""

    def __init__(self, directory: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError(
                "tensorboard=yes needs the extra: pip install 'chatwright[tensorboard]'"
            ) from None
        self._writer = SummaryWriter(str(directory), purge_step=step + 1)

    def write(self, step: int, group: str, values: Mapping[str, Any]) -> None:
        """Add the numbers among `values` as scalars `group/name`."""
        for name, value in values.items():
            if isinstance(value, Mapping):
                self.write(step, f"{group}/{name}", value)
            elif isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        self._writer.close()
