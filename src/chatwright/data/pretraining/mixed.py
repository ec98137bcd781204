"""Rows of several kinds side by side, for objectives that learn together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.data.packing import RowOrder, Rows


@dataclass(frozen=True)
class Mixed:
    """One row of each kind."""

    rows: tuple[Any, ...]

    def blank(self) -> Mixed:
        """Rows of these shapes that count nothing."""
        return Mixed(tuple(row.blank() for row in self.rows))


class MixedRows:
    """As many rows in an epoch as the first kind has; the others go on through epochs of their own."""

    def __init__(self, kinds: Sequence[Rows[Any]]) -> None:
        self._first, self._others = kinds[0], [RowOrder(kind) for kind in kinds[1:]]
        self._starts = [0]

    def rows_in_epoch(self, epoch: int) -> int:
        return self._first.rows_in_epoch(epoch)

    def row(self, epoch: int, index: int) -> Mixed:
        while len(self._starts) <= epoch:
            self._starts.append(self._starts[-1] + self._first.rows_in_epoch(len(self._starts) - 1))
        number = self._starts[epoch] + index
        return Mixed((self._first.row(epoch, index), *(order.row(number) for order in self._others)))
