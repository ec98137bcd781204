"""Rows that are read both ways: texts between `[CLS]` and `[SEP]`, with the kind of each position and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from chatwright.data.packing import IGNORE, PADDING, Packed, Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.tokenization.pairs import lay_frame

_LEAST = 3


@dataclass(frozen=True)
class Framed(Packed):
    """A row of T positions for objectives that fill in or compare; where they fill in, `targets` holds the token of a
    position itself, not the next one.

    `types` int64[T]: which text of a pair a position belongs to; `labels`: int64 arrays by name, [] or [T], IGNORE where
    nothing is learnt.
    """

    types: NDArray[np.int64] | None = None
    labels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def blank(self) -> Framed:
        nothing = {name: np.full_like(label, IGNORE) for name, label in self.labels.items()}
        targets, segments = np.full_like(self.targets, IGNORE), np.full_like(self.segments, PADDING)
        return replace(self, targets=targets, segments=segments, labels=nothing)


def frame(
    texts: Sequence[NDArray[np.int64]], facts: TokenFacts, context: int, **labels: NDArray[np.int64]
) -> Framed:
    """`[CLS] a [SEP] b [SEP] …` as one row of `context` positions; the texts of a pair have the types 0 and 1."""
    ids, kinds = lay_frame(texts, facts.cls, facts.sep)
    size = len(ids)
    assert size <= context, f"{size} tokens in a row of {context}"
    inputs, types = np.full(context, facts.pad, dtype=np.int64), np.zeros(context, dtype=np.int64)
    inputs[:size], types[:size] = ids, kinds
    segments = np.where(np.arange(context) < size, 0, PADDING).astype(np.int32)
    return Framed(
        inputs,
        np.full(context, IGNORE, dtype=np.int64),
        segments,
        None,
        types,
        labels,
    )


class FramedRows:
    """Rows of a stream of text in which every stretch of a document is framed in place: its first position becomes
    `[CLS]`, where a document's `<|endoftext|>` stands anyway, its last `[SEP]`. A stretch too short for that is padding.
    """

    def __init__(self, rows: Rows[Packed], facts: TokenFacts) -> None:
        self._rows, self._facts = rows, facts

    def rows_in_epoch(self, epoch: int) -> int:
        return self._rows.rows_in_epoch(epoch)

    def row(self, epoch: int, index: int) -> Framed:
        row, facts = self._rows.row(epoch, index), self._facts
        inputs, segments = row.inputs.copy(), row.segments.copy()
        edges = np.flatnonzero(np.diff(segments, prepend=PADDING - 1, append=PADDING - 1))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if segments[start] != PADDING and stop - start >= _LEAST:
                inputs[start], inputs[stop - 1] = facts.cls, facts.sep
            else:
                inputs[start:stop], segments[start:stop] = facts.pad, PADDING
        targets = np.full_like(row.targets, IGNORE)
        return Framed(inputs, targets, segments, None, np.zeros_like(inputs))
