"""Pairs of texts as rows: neighbours, strangers, and sentences out of order, drawn anew for every epoch.

A row is a pure function of (seed, epoch, index). An epoch has as many rows as would hold the store's tokens; each begins
at the sentence around a token place of its own, and the places are spread evenly.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, frame
from chatwright.data.pretraining.sentences import Sentences
from chatwright.errors import UserError

_SHORT_SHARE = 0.1
_FIRST_SHARE = 0.75
_TRIES = 8
_PAIR, _PLACES = 2, 3  # streams of the generator


class SentencePlaces:
    """Where the rows of an epoch begin: sentences that have a neighbour after them in their document."""

    def __init__(self, sentences: Sentences, context: int, seed: int, neighbours: int = 2) -> None:
        self._usable = np.flatnonzero(sentences.counts >= neighbours)
        if len(self._usable) == 0:
            sentences = sentences.halved()
            self._usable = np.flatnonzero(sentences.counts >= 2)
        if len(self._usable) == 0:
            raise UserError(
                f"no document in {sentences.store.directory} has two sentences, or two words; add longer texts"
            )
        self.sentences, self._context, self._seed = sentences, context, seed
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def documents(self) -> NDArray[np.int64]:
        """The documents that rows begin in."""
        return self._usable

    def rows_in_epoch(self, epoch: int) -> int:
        return max(1, self.sentences.store.num_tokens // self._context)

    def draw(self, epoch: int, index: int) -> np.random.Generator:
        """A generator for one row."""
        return np.random.default_rng([self._seed, epoch, index, _PAIR])

    def place(self, epoch: int, index: int) -> tuple[int, int]:
        """The (document, sentence) that a row begins with; the sentence is not the document's last."""
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng([self._seed, epoch, _PLACES])
            first = generator.integers(self.sentences.store.num_tokens, size=1)
            order = generator.permutation(self.rows_in_epoch(epoch))
            self._order = epoch, first + order * self._context
        token = int(self._order[1][index]) % self.sentences.store.num_tokens
        return self.around(token)

    def around(self, token: int) -> tuple[int, int]:
        """The (document, sentence) around a token, or the first of the next usable document."""
        s = self.sentences
        found = int(np.searchsorted(s.store.offsets, token, side="right")) - 1
        document = int(self._usable[np.searchsorted(self._usable, found) % len(self._usable)])
        first, last = int(s.first[document]), int(s.first[document + 1]) - 1
        if document != found:
            return document, first
        sentence = int(np.searchsorted(s.begins, token, side="right")) - 1
        return document, min(max(sentence, first), last - 1)


class PairRows:
    """`[CLS] a [SEP] b [SEP]`, filled up to the context; one pair in ten is shorter (Devlin et al. 2019, appendix A.2).

    `a` is one or more sentences, about as many as fill up to three quarters of the row. kind `next`: b is what follows in
    the document (label `next_sentence` 0), or for half of the pairs what follows a sentence of another document (1), drawn
    from all of the other documents' text, or from `others`. kind `order`: b follows, and half of the pairs are swapped (`sentence_order` 1).
    """

    def __init__(
        self,
        sentences: Sentences,
        context: int,
        facts: TokenFacts,
        seed: int = 0,
        kind: Literal["next", "order"] = "next",
        others: Sentences | None = None,
    ) -> None:
        if context < 8:
            raise UserError(f"context={context} holds no pair of sentences; give at least 8")
        self._places = SentencePlaces(sentences, context, seed)
        self._context, self._facts, self._kind = context, facts, kind
        self._others = SentencePlaces(others, context, seed) if others is not None else None
        if kind == "next" and others is None and np.count_nonzero(sentences.counts) < 2:
            raise UserError(
                "next_sentence needs at least two documents, one to draw strangers from, and "
                f"{sentences.store.directory} has 1; add texts, or choose objective=masked,sentence_order"
            )

    def rows_in_epoch(self, epoch: int) -> int:
        return self._places.rows_in_epoch(epoch)

    def row(self, epoch: int, index: int) -> Framed:
        s, rng = self._places.sentences, self._places.draw(epoch, index)
        document, sentence = self._places.place(epoch, index)
        room = self._context - 3
        if rng.random() < _SHORT_SHARE:
            room = int(rng.integers(room // 2, room + 1))
        begin, middle = self._first_text(document, sentence, room, rng)
        first, left = s.ids(begin, middle), room - (middle - begin)
        following = s.ids(middle, min(middle + left, int(s.store.offsets[document + 1])))
        if self._kind == "order":
            swapped = int(rng.integers(2))
            texts = [following, first] if swapped else [first, following]
            return frame(texts, self._facts, self._context, sentence_order=np.array(swapped))
        stranger = int(rng.integers(2))
        second = self._stranger(document, left, rng) if stranger else following
        return frame([first, second], self._facts, self._context, next_sentence=np.array(stranger))

    def _first_text(
        self, document: int, sentence: int, room: int, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Where the first text begins and ends: whole sentences, or the end of one that is too long."""
        s, most = self._places.sentences, max(1, int(room * _FIRST_SHARE))
        begin, last = int(s.begins[sentence]), int(s.first[document + 1]) - 1
        fitting = int(np.searchsorted(s.ends[sentence:last], begin + most, side="right"))
        if fitting == 0:
            end = int(s.ends[sentence])
            return end - most, end
        return begin, int(s.ends[sentence + int(rng.integers(fitting))])

    def _stranger(self, document: int, room: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """A text of another document that, like the true one, does not begin where its document begins, if any can."""
        if self._others is not None:
            return _following(self._others, int(rng.integers(self._others.sentences.store.num_tokens)), room)[
                1
            ]
        s = self._places.sentences
        own_begin, own_end = s.store.bounds(document)
        for _ in range(_TRIES):
            token = int(rng.integers(s.store.num_tokens - (own_end - own_begin)))
            token += (own_end - own_begin) if token >= own_begin else 0
            other, text = _following(self._places, token, room)
            if other != document:
                return text
        others = np.flatnonzero(s.counts)
        other = int(rng.choice(others[others != document]))
        begin, end = int(s.begins[s.first[other]]), int(s.store.offsets[other + 1])
        return s.ids(begin, min(begin + room, end))


def _following(places: SentencePlaces, token: int, room: int) -> tuple[int, NDArray[np.int64]]:
    """The document around a token, and what follows the sentence there, up to `room` tokens."""
    s = places.sentences
    document, sentence = places.around(token)
    begin = int(s.begins[sentence + 1])
    return document, s.ids(begin, min(begin + room, int(s.store.offsets[document + 1])))
