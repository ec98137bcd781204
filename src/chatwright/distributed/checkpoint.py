"""Training states on disk: tensors in safetensors, the rest in JSON, no pickle.

A state is written aside, synced and renamed: whatever moment the process dies at, the newest `step-N` that exists is
whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatwright.files import publishing, sync_directory, sync_file, writing

State = Mapping[str, Any]


def save_state(directory: Path, step: int, tensors: Mapping[str, Tensor], rest: State, keep: int = 2) -> Path:
    """Write `directory/step-N` and remove all but the newest `keep` states."""
    target = directory / f"step-{step}"
    with publishing(target) as aside:
        _save(tensors, aside / "tensors.safetensors")
        (aside / "state.json").write_text(json.dumps(rest), encoding="utf-8")
    for _, old in states(directory)[:-keep]:
        shutil.rmtree(old)
    return target


def states(directory: Path) -> list[tuple[int, Path]]:
    """All whole states, oldest first."""
    found = directory.glob("step-*") if directory.is_dir() else []
    matched = [(re.fullmatch(r"step-(\d+)", path.name), path) for path in found]
    return sorted((int(match[1]), path) for match, path in matched if match)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state back, on the CPU."""
    return load_file(path / "tensors.safetensors"), json.loads(
        (path / "state.json").read_text(encoding="utf-8")
    )


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Swap in a weights file by one rename."""
    aside = path.with_name(f"{path.name}.tmp")
    with writing(path):
        try:
            _save(weights, aside, metadata)
            sync_file(aside)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _save(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, path, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:
        # the library hides the system's refusals (a full disk …) in its own error's text
        refusal = re.search(r"os error (\d+)", str(error))
        if refusal is None:
            raise
        raise OSError(int(refusal[1]), os.strerror(int(refusal[1])), str(path)) from error
