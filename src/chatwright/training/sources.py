"""Batches from stored text: a pure function of (seed, step, row), whatever the number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chatwright.data.packing import IGNORE, PADDING, Packed, Packing, RowOrder
from chatwright.distributed.launch import World
from chatwright.objectives.contract import Batch, Objective


class StoredSource:
    """Serves `rows_per_step` rows a step, shared out over ranks and cut into micro-batches of `micro_rows` at most.

    Its only state is the step number, which the caller holds.
    """

    def __init__(
        self,
        packing: Packing,
        objective: Objective,
        rows_per_step: int,
        micro_rows: int,
        seed: int,
        world: World,
    ) -> None:
        self._packing, self._order, self._objective = packing, RowOrder(packing), objective
        self._rows, self._micro, self._seed, self._world = rows_per_step, micro_rows, seed, world

    def batches(self, step: int) -> list[Batch]:
        numbers = np.arange(step * self._rows, (step + 1) * self._rows)
        shares = np.array_split(numbers, self._world.size)
        parts = -(-max(len(share) for share in shares) // self._micro)
        micro = np.array_split(shares[self._world.rank], parts)
        return [
            self._objective.collate([self._row(int(n)) for n in part] or [self._blank()]) for part in micro
        ]

    def _blank(self) -> Packed:
        """A row that counts nothing, for a rank that has a micro-batch fewer than another: sharded models need every
        rank in every forward pass."""
        row = self._packing.row(0, 0)
        return Packed(row.inputs, np.full_like(row.targets, IGNORE), np.full_like(row.segments, PADDING))

    def _row(self, number: int) -> Packed:
        epoch, index = self._order.locate(number)
        rng = np.random.default_rng((self._seed, epoch, index))
        return self._objective.prepare(self._packing.row(epoch, index), rng)

    def epochs(self, steps: int) -> float:
        """How many times `steps` steps go through the data."""
        epoch, index = self._order.locate(steps * self._rows)
        return epoch + index / max(1, self._packing.rows_in_epoch(epoch))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
