"""Pieces of a document in a random order, each with the place it had."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatwright.data.packing import IGNORE
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, frame
from chatwright.data.pretraining.pairs import SentencePlaces
from chatwright.data.pretraining.sentences import Sentences
from chatwright.errors import UserError


class ShuffledRows:
    """`[CLS] piece [SEP] piece [SEP] …`: neighbouring sentences of a document in up to `pieces` pieces, shuffled; the
    label `position` at the `[SEP]` after a piece is its true place. Rows are filled up to the context, and are a pure
    function of (seed, epoch, index)."""

    def __init__(
        self, sentences: Sentences, context: int, facts: TokenFacts, pieces: int, seed: int = 0
    ) -> None:
        if context < 4 * pieces:
            raise UserError(f"context={context} is too short for {pieces} pieces; give at least {4 * pieces}")
        self._places = SentencePlaces(sentences, context, seed)
        self._context, self._facts, self._pieces = context, facts, pieces

    def rows_in_epoch(self, epoch: int) -> int:
        return self._places.rows_in_epoch(epoch)

    def row(self, epoch: int, index: int) -> Framed:
        s, rng = self._places.sentences, self._places.draw(epoch, index)
        document, sentence = self._places.place(epoch, index)
        last = int(s.first[document + 1])
        # a document that ends soon is read from further ahead
        sentence = max(int(s.first[document]), min(sentence, last - self._pieces))
        room = self._context - 1 - self._pieces
        fitting = int(np.searchsorted(s.ends[sentence:last], s.begins[sentence] + room, side="right"))
        count = min(last - sentence, max(fitting, 2))
        runs = np.array_split(np.arange(sentence, sentence + count), min(self._pieces, count))
        most = room // len(runs) if fitting < count else room
        texts = [
            s.ids(int(s.begins[run[0]]), min(int(s.ends[run[-1]]), int(s.begins[run[0]]) + most))
            for run in runs
        ]
        return shuffled(texts, rng.permutation(len(texts)), self._facts, self._context, "position")


def shuffled(
    texts: Sequence[NDArray[np.int64]],
    order: NDArray[np.int64],
    facts: TokenFacts,
    context: int,
    name: str,
) -> Framed:
    """Texts in an order, each with its own place as a label at the `[SEP]` after it. Types tell nothing."""
    labels = np.full(context, IGNORE, dtype=np.int64)
    at = 0
    for place in order.tolist():
        at += len(texts[place]) + 1
        labels[at] = place
    row = frame([texts[place] for place in order.tolist()], facts, context, **{name: labels})
    assert row.types is not None
    row.types[:] = 0
    return row
