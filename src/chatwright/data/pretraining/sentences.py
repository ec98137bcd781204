"""Sentences of a token store: where each begins, found once in the ids and kept beside them.

A sentence ends after 。！？…, after a line break, and after . ! ? before white space. Closing quotes and white space
belong to what they follow.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.store import TokenStore
from chatwright.errors import UserError
from chatwright.files import atomic_write

FILE = "sentences-1.bin"
_BREAKS, _STOPS, _JOINS, _SPACED = 1, 2, 4, 8
_CHINESE_ENDS, _ENDS = "。！？…", ".!?"
_CLOSERS = "\"'”’」』）)]》】 \t\r\n\u3000"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Sentences:
    """The sentences of a store. `begins` and `ends` int64[S] count tokens over the whole store; `first` int64[D + 1]
    gives each document's first sentence. Control tokens at a document's beginning belong to no sentence."""

    store: TokenStore
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, store: TokenStore, facts: TokenFacts) -> Sentences:
        """Read the beginnings that were kept beside the store, or find and keep them."""
        path = store.directory / FILE
        if path.is_file() and path.stat().st_size % 8 == 0:
            return cls.from_begins(store, np.memmap(path, np.int64, "r").view(np.ndarray))
        found = cls.from_begins(store, find_begins(store, facts))
        # a folder that cannot be written costs the search again
        with suppress(UserError):
            atomic_write(path, found.begins.tobytes())
        return found

    @classmethod
    def from_begins(cls, store: TokenStore, begins: NDArray[np.int64]) -> Sentences:
        first = np.searchsorted(begins, store.offsets)
        ends = np.empty_like(begins)
        ends[:-1] = begins[1:]
        last = first[1:] - 1
        has = np.diff(first) > 0
        ends[last[has]] = store.offsets[1:][has]
        return cls(store, begins, ends, first)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Sentences of each document."""
        return np.diff(self.first)

    def halved(self) -> Sentences:
        """Every document of two tokens or more as two sentences, cut at its middle."""
        offsets = self.store.offsets
        starts = self.begins[np.minimum(self.first[:-1], len(self.begins) - 1)]
        has = self.counts > 0
        middles = (starts + offsets[1:]) // 2
        both = [starts[has], middles[has & (middles > starts)]]
        return Sentences.from_begins(self.store, np.sort(np.concatenate(both)))

    def document(self, sentence: int) -> int:
        """The document of a sentence."""
        return int(np.searchsorted(self.first, sentence, side="right")) - 1

    def ids(self, start: int, stop: int) -> NDArray[np.int64]:
        """The tokens from `start` to before `stop`, counted over the whole store."""
        return self.store.slice(start, stop).astype(np.int64)


def find_begins(store: TokenStore, facts: TokenFacts) -> NDArray[np.int64]:
    """Where sentences begin, int64[S], in blocks of whole documents that bound the memory."""
    kinds = _kinds(facts)
    offsets, found, begin = store.offsets, [np.zeros(0, np.int64)], 0
    while begin < store.num_documents:
        end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + _BLOCK, side="right")) - 1)
        start, stop = int(offsets[begin]), int(offsets[end])
        places = _begins(store.tokens[start:stop], offsets[begin:end] - start, kinds, facts.special)
        found.append(places + start)
        begin = end
    return np.concatenate(found)


def _begins(
    tokens: NDArray[Any], starts: NDArray[np.int64], kinds: NDArray[np.uint8], special: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Beginnings in one block of documents that begin at `starts`."""
    is_start = np.zeros(len(tokens) + 1, dtype=np.bool_)
    is_start[starts] = True
    # a control token at the beginning hands its place on
    led = starts[special[tokens[starts]]]
    is_start[led] = False
    is_start[led + 1] = True
    flags = kinds[tokens]
    body = np.flatnonzero((flags & _JOINS) == 0)
    breaks = np.concatenate([[0], np.cumsum((flags & _BREAKS) > 0)])
    before, after = body[:-1], body[1:]
    spaced = ((flags[after] & _SPACED) > 0) | (after - before > 1)
    ended = (breaks[after] > breaks[before]) | (((flags[before] & _STOPS) > 0) & spaced)
    found = is_start[:-1].copy()
    found[after[ended]] = True
    found[special[tokens]] = False
    # where a document holds nothing but its control token, its neighbour's beginning is not its own
    return np.flatnonzero(found)


def _kinds(facts: TokenFacts) -> NDArray[np.uint8]:
    return np.array([_kind(text) for text in facts.texts], dtype=np.uint8)


def _kind(text: bytes) -> int:
    shown = text.decode("utf-8", "ignore")
    body = shown.rstrip(_CLOSERS)
    # a quote after a space opens
    closes = bool(shown) and not body and (shown.isspace() or not shown[0].isspace())
    kind = _JOINS if closes else 0
    kind |= _BREAKS if "\n" in shown[len(body) :] or body.endswith(tuple(_CHINESE_ENDS)) else 0
    kind |= _STOPS if body.endswith(tuple(_ENDS)) else 0
    return kind | (_SPACED if shown[:1].isspace() else 0)
