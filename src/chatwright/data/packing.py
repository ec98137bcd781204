"""Rows of a fixed length from a token store, each a pure function of (seed, epoch, index).

No generator is advanced and nothing depends on which rows were asked for before, so resuming is a number and
the order does not depend on how many processes share it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from chatwright.data.store import TokenStore
from chatwright.errors import UserError

IGNORE = -100
PADDING = -1

R = TypeVar("R", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class Packed:
    """One row of T positions.

    `inputs` int64[T]; `targets` int64[T], the token after each input, or IGNORE where nothing is learnt;
    `segments` int32[T], which document of the row a position belongs to, counted from 0, or PADDING;
    `positions` int64[T] where an objective moved them, else they are 0 … T - 1.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    segments: NDArray[np.int32]
    positions: NDArray[np.int64] | None = None

    def blank(self) -> Packed:
        """A row of this shape that counts nothing."""
        return Packed(self.inputs, np.full_like(self.targets, IGNORE), np.full_like(self.segments, PADDING))


class Rows(Protocol[R]):
    """Rows of any kind, as many in an epoch as the epoch needs."""

    def rows_in_epoch(self, epoch: int) -> int: ...

    def row(self, epoch: int, index: int) -> R: ...


class Packing(Rows[Packed], Protocol):
    """Rows of `context` positions."""

    @property
    def context(self) -> int: ...


class RowOrder(Generic[T]):
    """All rows of a training run one after another, epoch after epoch."""

    def __init__(self, packing: Rows[T]) -> None:
        self._packing = packing
        self._ends: list[int] = []

    def locate(self, row: int) -> tuple[int, int]:
        """The (epoch, index) of the row with that number since the start of training."""
        while not self._ends or self._ends[-1] <= row:
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + self._packing.rows_in_epoch(len(self._ends)))
        epoch = bisect_right(self._ends, row)
        return epoch, row - (self._ends[epoch - 1] if epoch else 0)

    def row(self, row: int) -> T:
        """The row with that number since the start of training."""
        return self._packing.row(*self.locate(row))


def global_row(packing: Rows[Any], row: int) -> tuple[int, int]:
    """The (epoch, index) of the row with that number since the start of training."""
    return RowOrder(packing).locate(row)


class StreamRows:
    """Documents one after another in a ring, cut into rows of `context` tokens.

    Each epoch begins at its own place of the ring, drawn from (seed, epoch), and takes its rows in its own
    order; each token is an input once. What does not fill a row, at most `context - 1` tokens, is left out of
    that epoch; a store shorter than a row is gone round more than once. The ring closes where the last
    document ends and the first begins.
    """

    def __init__(self, store: TokenStore, context: int, seed: int = 0) -> None:
        self.context = _checked_context(context)
        self._store = store
        self._seed = _checked_seed(seed)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def rows_in_epoch(self, epoch: int) -> int:
        return max(1, self._store.num_tokens // self.context)

    def row(self, epoch: int, index: int) -> Packed:
        start = self._first(epoch) + int(self._permutation(epoch)[index]) * self.context
        places = (start + np.arange(self.context + 1)) % self._store.num_tokens
        ids = self._store.tokens[places].astype(np.int64)
        targets = ids[1:].copy()
        if self._store.mask is not None:
            targets[self._store.mask[places[1:]] == 0] = IGNORE
        return Packed(ids[:-1].copy(), targets, _segments(self._store.offsets, places[:-1]))

    def _first(self, epoch: int) -> int:
        return int(np.random.default_rng([self._seed, epoch, 0]).integers(self._store.num_tokens))

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng([self._seed, epoch, 1])
            self._order = epoch, generator.permutation(self.rows_in_epoch(epoch))
        return self._order[1]


class SequentialRows:
    """The store from first token to last, for measuring: each token but the first is a target once."""

    def __init__(self, store: TokenStore, context: int, pad: int) -> None:
        self.context = _checked_context(context)
        self._store = store
        self._pad = pad

    def rows_in_epoch(self, epoch: int) -> int:
        return max(1, -(-(self._store.num_tokens - 1) // self.context))

    def row(self, epoch: int, index: int) -> Packed:
        start = index * self.context
        stop = min(start + self.context + 1, self._store.num_tokens)
        row = _blank(self.context, self._pad)
        _lay(row, 0, self._store, start, stop)
        row.segments[: stop - start - 1] = _segments(self._store.offsets, np.arange(start, stop - 1))
        return row


class PackedRows:
    """Conversations kept whole, several in a row; first fit over a window of open rows, in the epoch's order.

    A conversation takes the positions up to its last target: what follows teaches nothing. One that is longer
    than the row is cut at its end and counted in `cut`; one without a target in the row is left out and counted
    in `skipped`. With `shuffle` off every epoch keeps the order of the file, as a curriculum wants.
    """

    def __init__(
        self, store: TokenStore, context: int, pad: int, seed: int = 0, shuffle: bool = True, window: int = 64
    ) -> None:
        self.context = _checked_context(context)
        self._store = store
        self._pad = pad
        first, last = target_places(store)
        self._sizes = np.minimum(last, context)
        self._usable = np.flatnonzero((first > 0) & (first <= context))
        self.cut = int(np.count_nonzero(last[self._usable] > context))
        self.skipped = int(store.num_documents - len(self._usable))
        if len(self._usable) == 0:
            raise UserError(
                f"no conversation in {store.directory} has a token to learn in its first {context}; "
                "raise context"
            )

        def fit(documents: NDArray[np.int64]) -> list[list[int]]:
            return first_fit(self._sizes[documents].tolist(), context, window)

        self._plan = RowPlan(self._usable, fit, seed, shuffle)

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._plan.rows(epoch))

    def row(self, epoch: int, index: int) -> Packed:
        row, at = _blank(self.context, self._pad), 0
        for segment, document in enumerate(self._plan.rows(epoch)[index]):
            start, size = self._store.bounds(document)[0], int(self._sizes[document])
            _lay(row, at, self._store, start, start + size + 1)
            row.segments[at : at + size] = segment
            at += size
        return row

    def filled(self, epoch: int) -> float:
        """The share of an epoch's positions that is not padding."""
        return float(self._sizes[self._usable].sum()) / (self.rows_in_epoch(epoch) * self.context)


class RowPlan:
    """Which items stand together in the rows of an epoch, in an order drawn from (seed, epoch).

    `fit` puts items, in the order in which it gets them, into rows of places in that order. With `shuffle` off every
    epoch keeps the order of `items`.
    """

    def __init__(
        self,
        items: NDArray[np.int64],
        fit: Callable[[NDArray[np.int64]], list[list[int]]],
        seed: int,
        shuffle: bool,
    ) -> None:
        self._items, self._fit = items, fit
        self._seed, self._shuffle = _checked_seed(seed), shuffle
        self._known: tuple[int, list[list[int]]] | None = None

    def rows(self, epoch: int) -> list[list[int]]:
        if not self._shuffle:
            epoch = 0
        if self._known is None or self._known[0] != epoch:
            order = self._items
            if self._shuffle:
                order = np.random.default_rng([self._seed, epoch]).permutation(order)
            self._known = epoch, [order[row].tolist() for row in self._fit(order)]
        return self._known[1]


def first_fit(sizes: list[int], capacity: int, window: int) -> list[list[int]]:
    """Put items, in order, each into the first of at most `window` open rows that has room.

    When none has, a new row is opened, and of too many the fullest is closed. Rows come in the order of their
    first item, and items in a row in theirs.
    """
    rows: list[list[int]] = []
    open_rows: list[int] = []
    room: list[int] = []
    for item, size in enumerate(sizes):
        at = next((index for index, left in enumerate(room) if left >= size), -1)
        if at < 0:
            if len(room) == window:
                fullest = room.index(min(room))
                del room[fullest], open_rows[fullest]
            at = len(room)
            rows.append([])
            open_rows.append(len(rows) - 1)
            room.append(capacity)
        rows[open_rows[at]].append(item)
        room[at] -= size
        if room[at] == 0:
            del room[at], open_rows[at]
    return rows


def target_places(store: TokenStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each document's first and last targets stand, counted from its first token (which is never one).

    Two int64[num_documents], 0 where a document has no target.
    """
    offsets = store.offsets
    if store.mask is None:
        lengths = store.lengths()
        return np.minimum(lengths - 1, 1), lengths - 1
    first, last = (np.zeros(store.num_documents, dtype=np.int64) for _ in range(2))
    begin = 0
    while begin < store.num_documents:
        # blocks of about a million tokens bound the memory of the learnt places
        end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + (1 << 20), side="right")) - 1)
        starts, stops = offsets[begin:end], offsets[begin + 1 : end + 1]
        places = np.flatnonzero(store.mask[offsets[begin] : offsets[end]]) + offsets[begin]
        low, high = np.searchsorted(places, starts + 1), np.searchsorted(places, stops)
        found = np.flatnonzero(high > low)
        first[begin + found] = places[low[found]] - starts[found]
        last[begin + found] = places[high[found] - 1] - starts[found]
        begin = end
    return first, last


def _segments(offsets: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number the documents met along `places`, from 0; a document begins where an offset stands."""
    document = np.searchsorted(offsets, places, side="right") - 1
    begins = offsets[document] == places
    begins[:1] = False
    return np.cumsum(begins, dtype=np.int32)


def _blank(context: int, pad: int) -> Packed:
    inputs, targets = np.full(context, pad, dtype=np.int64), np.full(context, IGNORE, dtype=np.int64)
    return Packed(inputs, targets, np.full(context, PADDING, dtype=np.int32))


def _lay(row: Packed, at: int, store: TokenStore, start: int, stop: int) -> None:
    """Put the tokens from `start` to before `stop` into a row at position `at`, as inputs and targets."""
    size = stop - start - 1
    row.inputs[at : at + size] = store.tokens[start : stop - 1]
    targets = store.tokens[start + 1 : stop].astype(np.int64)
    if store.mask is not None:
        targets[store.mask[start + 1 : stop] == 0] = IGNORE
    row.targets[at : at + size] = targets


def _checked_context(context: int) -> int:
    if context < 1:
        raise UserError(f"context={context} should be at least 1")
    return context


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise UserError(f"seed={seed} should be 0 or more")
    return seed
