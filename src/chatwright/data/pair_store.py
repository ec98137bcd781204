"""Pairs as tokens: a store that is memory-mapped, and rows that hold several pairs each.

The store is a token store whose documents are source, target, source, target …, each with the token that ends it. Short
pairs fill most of a row with padding when each has one of its own; here they share rows, and never see each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.data.encode import OnProgress
from chatwright.data.packing import IGNORE, PADDING, RowPlan
from chatwright.data.pairs import Pair
from chatwright.data.store import TokenStore, write_store
from chatwright.errors import UserError
from chatwright.tokenization.tokenizer import Tokenizer

_BATCH_PAIRS = 2048
_WINDOW = 64
_MULTIPLE = 8

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class PairRow:
    """Pairs side by side: S positions of sources and T of targets.

    `inputs` int64[S]; `decoder_inputs` int64[T], each target moved on by one place behind the start token; `targets`
    int64[T], the token after each decoder input, or IGNORE; `segments` int32[S] and `decoder_segments` int32[T], which
    pair of the row a position belongs to, from 0, or PADDING; `pad`: the token at padding, and behind which tokens hide.
    """

    inputs: Ids
    decoder_inputs: Ids
    targets: Ids
    segments: NDArray[np.int32]
    decoder_segments: NDArray[np.int32]
    pad: int

    def blank(self) -> PairRow:
        """A row of this shape that counts nothing."""
        return replace(
            self,
            targets=np.full_like(self.targets, IGNORE),
            segments=np.full_like(self.segments, PADDING),
            decoder_segments=np.full_like(self.decoder_segments, PADDING),
        )


class RowWriter:
    """Lays pairs into one row of `source` and `target` positions."""

    def __init__(self, source: int, target: int, start: int, pad: int) -> None:
        self._start, self._at, self._across, self._number = start, 0, 0, 0
        self.row = PairRow(
            np.full(source, pad, dtype=np.int64),
            np.full(target, pad, dtype=np.int64),
            np.full(target, IGNORE, dtype=np.int64),
            np.full(source, PADDING, dtype=np.int32),
            np.full(target, PADDING, dtype=np.int32),
            pad,
        )

    def add(self, source: NDArray[Any], target: NDArray[Any], learnt: bool = True) -> None:
        """Lay down one pair; it has to fit. learnt: whether the target's tokens are to be predicted."""
        row = self.row
        here, there = slice(self._at, self._at + len(source)), slice(self._across, self._across + len(target))
        assert here.stop <= len(row.inputs) and there.stop <= len(row.targets), "the pair does not fit"
        row.inputs[here], row.segments[here] = source, self._number
        row.decoder_inputs[there.start] = self._start
        row.decoder_inputs[there.start + 1 : there.stop] = target[:-1]
        row.decoder_segments[there] = self._number
        if learnt:
            row.targets[there] = target
        self._at, self._across, self._number = here.stop, there.stop, self._number + 1


def encode_pairs(
    pairs: Iterable[Pair],
    tokenizer: Tokenizer,
    directory: str | Path,
    on_progress: OnProgress | None = None,
    facts: Callable[[], Mapping[str, Any]] | None = None,
) -> TokenStore:
    """A store with the source and the target of each pair as two documents, each ended by `<|endoftext|>`.

    `store.json` counts `text_bytes` (all) and `target_bytes`. `on_progress(pairs, bytes of text)` is called after each
    batch.
    """
    totals = Counter[str]()
    sizes, end = tokenizer.token_bytes, np.array([tokenizer.endoftext], dtype=np.int32)

    def documents() -> Iterator[tuple[NDArray[np.int32], None]]:
        stream = iter(pairs)
        while batch := list(islice(stream, _BATCH_PAIRS)):
            texts = [text for pair in batch for text in (pair.source, pair.target)]
            for number, ids in enumerate(tokenizer.encode_batch(texts)):
                size = int(sizes[ids].sum())
                totals["text_bytes"] += size
                totals["target_bytes"] += size * (number % 2)
                yield np.concatenate([ids, end]), None
            totals["pairs"] += len(batch)
            if on_progress:
                on_progress(totals["pairs"], totals["text_bytes"])

    return write_store(
        directory,
        documents(),
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.digest,
        facts=lambda: {**totals, **(facts() if facts else {})},
    )


def num_pairs(store: TokenStore) -> int:
    """How many pairs a store holds."""
    return store.num_documents // 2


class PackedPairs:
    """Pairs in rows, first fit over a window of open rows, in the epoch's order; a pure function of (seed, epoch, index).

    The side with more tokens has `context` positions, the other as many as its share of the tokens asks for. A pair with
    a side of more than `limit` tokens (by default `context`) is left out and counted in `skipped`: half a text does not
    belong to a whole one. With `shuffle` off every epoch keeps the store's order.
    """

    def __init__(
        self,
        store: TokenStore,
        context: int,
        start: int,
        pad: int,
        seed: int = 0,
        shuffle: bool = True,
        limit: int | None = None,
        lengths: tuple[int, int] | None = None,
    ) -> None:
        """lengths: positions of sources and of targets in a row, where they are not to be worked out from the store."""
        self._store, self._start, self._pad = store, start, pad
        self._sizes = store.lengths().reshape(-1, 2)
        longest = self._sizes.max(axis=1)
        self._usable = np.flatnonzero(longest <= min(context, limit or context))
        self.skipped = len(longest) - len(self._usable)
        if len(self._usable) == 0:
            raise UserError(
                f"no pair in {store.directory} fits: source and target may have {min(context, limit or context)} "
                f"tokens each, and the shortest pair has {int(longest.min())}; raise context="
            )
        self.source_length, self.target_length = lengths or self._row_lengths(context)

        def fit(pairs: NDArray[np.int64]) -> list[list[int]]:
            return first_fit_pairs(self._sizes[pairs], self.lengths, _WINDOW)

        self._plan = RowPlan(self._usable, fit, seed, shuffle)

    @property
    def lengths(self) -> tuple[int, int]:
        """Positions of sources and of targets in a row."""
        return self.source_length, self.target_length

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._plan.rows(epoch))

    def row(self, epoch: int, index: int) -> PairRow:
        writer = RowWriter(*self.lengths, self._start, self._pad)
        for pair in self._plan.rows(epoch)[index]:
            writer.add(self._store.document(2 * pair), self._store.document(2 * pair + 1))
        return writer.row

    def filled(self, epoch: int) -> float:
        """The share of an epoch's positions that is not padding."""
        positions = self.rows_in_epoch(epoch) * sum(self.lengths)
        return float(self._sizes[self._usable].sum()) / positions

    def _row_lengths(self, context: int) -> tuple[int, int]:
        totals, longest = self._sizes[self._usable].sum(axis=0), self._sizes[self._usable].max(axis=0)
        shares = np.ceil(context * totals / totals.max() / _MULTIPLE).astype(int) * _MULTIPLE
        source, target = np.minimum(context, np.maximum(shares, longest)).tolist()
        return source, target


def first_fit_pairs(sizes_N2: NDArray[np.int64], capacity: tuple[int, int], window: int) -> list[list[int]]:
    """Put items of two sizes, in order, each into the first of at most `window` open rows that has room for both.

    When none has, a new row is opened, and of too many the one with the least room is closed. Rows come in the order of
    their first item, and items in a row in theirs.
    """
    rows: list[list[int]] = []
    opened = np.empty(window, dtype=np.int64)
    room = np.full((window, 2), -1, dtype=np.int64)
    for item, size in enumerate(sizes_N2):
        places = np.flatnonzero((room >= size).all(axis=1))
        # rows are opened in places that become free, so the first to fit is the one that was opened first
        at = int(places[opened[places].argmin()]) if len(places) else int(room.min(axis=1).argmin())
        if not len(places):
            opened[at], room[at] = len(rows), capacity
            rows.append([])
        rows[opened[at]].append(item)
        room[at] -= size
    return rows
