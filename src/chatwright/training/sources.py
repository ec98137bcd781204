"""Batches from stored rows: a pure function of (seed, step, row), whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np

from chatwright.data.packing import RowOrder, Rows
from chatwright.distributed.launch import World
from chatwright.objectives.contract import Batch, Objective, Row

R = TypeVar("R", bound=Row)
T = TypeVar("T")
# How a share of rows is cut into micro-batches.
Cut = Callable[[Sequence[R]], list[list[R]]]


class StoredSource(Generic[R]):
    """Serves `rows_per_step` rows a step, shared out over ranks and cut into micro-batches.

    Its only state is the step number, which the caller holds. `cut` is a number of rows, or a function that looks at
    the rows, for which every rank makes all of them.
    """

    def __init__(
        self,
        packing: Rows[R],
        objective: Objective[R],
        rows_per_step: int,
        cut: int | Cut[R],
        seed: int,
        world: World,
    ) -> None:
        self._packing, self._order, self._objective = packing, RowOrder(packing), objective
        self._rows, self._seed, self._world = rows_per_step, seed, world
        self._cut = cut

    def batches(self, step: int) -> list[Batch]:
        numbers = range(step * self._rows, (step + 1) * self._rows)
        if isinstance(self._cut, int):
            parts = shared_out(numbers, by_count(self._cut), self._world)
            return [self._collate([self._row(number) for number in part]) for part in parts]
        rows = [self._row(number) for number in numbers]
        return [self._collate(part) for part in shared_out(rows, self._cut, self._world)]

    def _collate(self, rows: list[R]) -> Batch:
        return self._objective.collate(rows or [self._packing.row(0, 0).blank()])

    def _row(self, number: int) -> R:
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


def shared_out(rows: Sequence[T], cut: Callable[[Sequence[T]], list[list[T]]], world: World) -> list[list[T]]:
    """This rank's micro-batches of one step's rows.

    Every rank has as many, some without a row: sharded models need every rank in every forward pass.
    """
    shares = [cut(share) for share in even_parts(rows, world.size)]
    mine, parts = shares[world.rank], max(1, *map(len, shares))
    return [*mine, *([] for _ in range(parts - len(mine)))]


def even_parts(rows: Sequence[T], parts: int) -> list[Sequence[T]]:
    """`rows` in so many runs of neighbours, the first ones perhaps a row longer."""
    size, longer = divmod(len(rows), parts)
    edges = [size * part + min(part, longer) for part in range(parts + 1)]
    return [rows[begin:end] for begin, end in pairwise(edges)]


def by_count(most: int) -> Callable[[Sequence[T]], list[list[T]]]:
    """Micro-batches of at most `most` rows, of like size."""
    return lambda rows: [list(part) for part in even_parts(rows, -(-len(rows) // most))] if rows else []
