"""What a way to run a decoder must offer, and what those that run operation by operation share.

Shape suffixes: B batch, T new positions, P parts, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.generation.cache import Cache, Joined


@dataclass(frozen=True)
class Part:
    """New tokens of one sequence: its cache of one row, the tokens, and after how many of the last the logits are wanted."""

    cache: Cache
    ids: Sequence[int]
    wanted: int = 1


class Way(ABC):
    """A decoder's forward pass with a cache; the methods are `Inference`'s."""

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @abstractmethod
    def prefill(
        self, ids_BT: Tensor, cache: Cache, starts_B: Tensor | None, is_wanted: bool = True
    ) -> Tensor: ...

    @abstractmethod
    def step(self, ids_B: Tensor, cache: Cache | Joined, starts_B: Tensor | None) -> Tensor: ...

    def run(self, parts: Sequence[Part]) -> Tensor:
        """Single tokens together, and longer parts one after the other."""
        alone = [place for place, part in enumerate(parts) if len(part.ids) == part.wanted == 1]
        found: dict[int, list[Tensor]] = {
            place: [logits_V]
            for place, logits_V in zip(alone, self._together([parts[p] for p in alone]), strict=True)
        }
        for place, part in enumerate(parts):
            if place not in found:
                found[place] = self._whole(part)
        rows = [logits_V for place in sorted(found) for logits_V in found[place]]
        return torch.stack(rows) if rows else torch.empty(0, 0)

    def _whole(self, part: Part) -> list[Tensor]:
        """All but the wanted at once, then the wanted one by one."""
        cut = len(part.ids) - max(part.wanted, 1) + 1
        pieces = [part.ids[:cut], *([token] for token in part.ids[cut:])]
        rows = [
            self.prefill(torch.tensor([list(ids)], device=self.device), part.cache, None)[0] for ids in pieces
        ]
        return rows if part.wanted else []

    def _together(self, parts: Sequence[Part]) -> Sequence[Tensor]:
        if not parts:
            return ()
        ids_B = torch.tensor([part.ids[0] for part in parts], device=self.device)
        if len(parts) == 1:
            return self.step(ids_B, parts[0].cache, None).unbind()
        joined = Joined([part.cache for part in parts])
        starts_B = torch.tensor(joined.starts, device=self.device)
        return self.step(ids_B, joined, starts_B if bool(starts_B.any()) else None).unbind()
