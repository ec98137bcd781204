"""Texts as sequences of word hashes, and their n-grams, many texts at a time in numpy.

A word of a spaced script is hashed whole, a Chinese character by itself, after folding (`folding.py`). The hash of a
word is that of Karp and Rabin (1987), modulo 2^64, taken from running sums: `(S[end] - S[start]) / R^start`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.duplicates.folding import ALONE, folding

Hashes = npt.NDArray[np.uint64]
Whole = npt.NDArray[np.int64]

_BLOCK = 1 << 17
_BASE = 0x9E3779B97F4A7C15
_NEXT = np.uint64(0xD6E8FEB86659FD93)
_WHITE = ("\x00", "\t", "\n", "\r", " ")


@dataclass(frozen=True)
class Tokens:
    """The words of `len(ends)` texts, one after another.

    `hashes` (T,) of the words; `ends` (D,) how many words the texts have up to and with each; `starts` and `stops`
    (T,) where each word stands in its text, in characters.
    """

    hashes: Hashes
    ends: Whole
    starts: Whole
    stops: Whole

    @property
    def begins(self) -> Whole:
        """(D,) the number of words before each text."""
        return self.ends - np.diff(self.ends, prepend=0)


def tokens(texts: Sequence[str]) -> Tokens:
    """The words of each text. Memory is about 60 bytes a word, and 30 a character for a block of 131,072."""
    joined = "\n".join(texts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    first = np.cumsum(lengths + 1) - lengths - 1
    pieces = [_words(codes, offset) for codes, offset in _blocks(joined)]
    hashes, starts, stops = (np.concatenate(column) for column in zip(*pieces, strict=True))
    ends = np.searchsorted(starts, first + lengths + 1).astype(np.int64)
    own = np.repeat(first, np.diff(ends, prepend=0))
    return Tokens(hashes, ends, starts - own, stops - own)


def _blocks(text: str) -> Iterator[tuple[npt.NDArray[np.uint32], int]]:
    """`(folded characters, offset)` of about `_BLOCK` characters each, cut at white space.

    A run without white space is cut where it comes to a block, so that a line of 1 GB is no word of 1 GB.
    """
    table, start = folding(), 0
    while start == 0 or start < len(text):
        stop = start + _BLOCK
        if stop < len(text):
            white = max(text.rfind(mark, start, stop) for mark in _WHITE)
            stop = white + 1 if white >= start else stop
        codes = np.frombuffer(text[start:stop].encode("utf-32-le", "surrogatepass"), np.uint32)
        yield table[codes], start
        start = stop


def _words(folded: npt.NDArray[np.uint32], offset: int) -> tuple[Hashes, Whole, Whole]:
    """The hashes, starts and stops of the words in a block; `offset` is added to the places."""
    alone = folded >= ALONE
    kind = (folded > 0).view(np.int8) + alone.view(np.int8)
    before = np.empty_like(kind)
    before[:1], before[1:] = 0, kind[:-1]
    after = np.empty_like(kind)
    after[-1:], after[:-1] = 0, kind[1:]
    starts = np.flatnonzero(alone | ((kind == 1) & (before != 1)))
    stops = np.flatnonzero(alone | ((kind == 1) & (after != 1)))
    powers, inverses = _powers()
    sums = np.empty(len(folded) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(folded * powers[: len(folded)], out=sums[1:])
    hashes = _mixed((sums[stops + 1] - sums[starts]) * inverses[starts])
    return hashes, starts + offset, stops + 1 + offset


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """`R^i` and `R^-i` modulo 2^64 for every place in a block."""
    powers, inverses = (np.full(_BLOCK + 1, base, np.uint64) for base in (_BASE, pow(_BASE, -1, 1 << 64)))
    powers[0] = inverses[0] = 1
    return np.cumprod(powers), np.cumprod(inverses)


def _mixed(values: Hashes) -> Hashes:
    """Spread every bit over all the others, one to one (the finisher of MurmurHash3, Appleby 2011)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def ngrams(words: Tokens, size: int) -> tuple[Hashes, Whole]:
    """The hashes of the n-grams of `size` words in each text, and (D,) how many the texts have up to each.

    A text of fewer words has none. The n-gram at place p of a text begins with its word p.
    """
    count = max(0, len(words.hashes) - size + 1)
    rolled = words.hashes[:count].copy()
    for step in range(1, size):
        rolled *= _NEXT
        rolled += words.hashes[step : step + count]
    lengths = np.maximum(np.diff(words.ends, prepend=0) - size + 1, 0)
    total = int(lengths.sum())
    ends = np.cumsum(lengths)
    if total != count:
        rolled = rolled[np.arange(total) + np.repeat(words.begins - (ends - lengths), lengths)]
    return _mixed(rolled), ends


def shingles(texts: Sequence[str], size: int) -> tuple[Hashes, Whole]:
    """The hashes that stand for each text when texts are compared, and (D,) how many up to each.

    They are the n-grams of `size` words; of a shorter text all its words together are the one shingle, and a text
    without words has none.
    """
    words = tokens(texts)
    lengths = np.diff(words.ends, prepend=0)
    found, ends = ngrams(words, size)
    short = np.flatnonzero((lengths > 0) & (lengths < size))
    if not len(short):
        return found, ends
    whole = [_folded_whole(words.hashes[words.begins[i] : words.ends[i]]) for i in short]
    places = ends[short]
    more = np.zeros(len(texts), np.int64)
    more[short] = 1
    return np.insert(found, places, np.array(whole, np.uint64)), ends + np.cumsum(more)


def _folded_whole(hashes: Hashes) -> int:
    value = len(hashes)
    for one in hashes.tolist():
        value = (value * _BASE + one) % (1 << 64)
    return int(_mixed(np.array([value], np.uint64))[0])


def jaccard(left: str, right: str, size: int = 5) -> float:
    """The true similarity of two texts: shared shingles over all shingles (Jaccard 1901); 0 where one has none."""
    found, ends = shingles([left, right], size)
    one, other = np.unique(found[: ends[0]]), np.unique(found[ends[0] :])
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared) if len(one) and len(other) else 0.0
