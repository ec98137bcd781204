"""How much of a text it has said before: repeated lines, paragraphs and n-grams.

A unit is a word, or one Han or kana character. All hashes come from one prefix sum: with random values v by
character and an odd base p, the hash of the characters from a to b is (Σ v·p^i from a to b) · p^(−a), modulo 2^64.
The measures follow Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators import characters
from chatwright.corpora.operators.characters import Ints
from chatwright.corpora.operators.quality.lines import Lines

Hashes: TypeAlias = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_UNIT = np.uint64(0xD6E8FEB86659FD93)
_SEED = 20


@dataclass(frozen=True)
class Units:
    """The U units of a batch. `place[i]` is where unit i begins among the characters of words, (U + 1,)."""

    place: Ints
    position: Ints
    """Where in the batch each character of a word stands."""
    document: Ints
    first: Ints
    """The first unit of each document, and at last U, (D + 1,)."""
    prefix: Hashes

    def grams(self, size: int) -> tuple[Hashes, Ints]:
        """The hashes of all runs of `size` units within one document, and their documents."""
        count = self.document.size - size + 1
        if count <= 0:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        begins, ends = self.place[:count], self.place[size : size + count]
        hashes = self.between(begins, ends)
        inside = self.document[:count] == self.document[size - 1 :]
        return hashes[inside], self.document[:count][inside]

    def between(self, begins: Ints, ends: Ints) -> Hashes:
        """The hashes of spans among the characters of words."""
        return (self.prefix[ends] - self.prefix[begins]) * _powers(self.prefix.size)[1][begins]


@cache
def _values() -> Hashes:
    """A random number for each character; capitals have that of their small letters."""
    values = np.random.default_rng(_SEED).integers(1, 2**63, characters.SIZE, np.uint64)
    lower = np.arange(characters.SIZE)
    letters = np.flatnonzero(characters.kinds() <= characters.LETTER)
    lower[letters] = [min(ord(chr(code).lower()[0]), characters.SIZE - 1) for code in letters]
    return values[lower]


_POWERS: list[tuple[Hashes, Hashes]] = []


def _powers(size: int) -> tuple[Hashes, Hashes]:
    """Powers of the base and of its inverse modulo 2^64, at least `size` of each."""
    if not _POWERS or _POWERS[0][0].size < size:
        size = max(size, 1 << 20)
        both = []
        for base in (_BASE, pow(_BASE, -1, 1 << 64)):
            factors = np.full(size, base, np.uint64)
            factors[0] = 1
            both.append(np.multiply.accumulate(factors))
        _POWERS[:] = [(both[0], both[1])]
    return _POWERS[0]


def to_units(lines: Lines) -> Units:
    """The units of a batch."""
    kinds, first = lines.kinds, lines.starts[lines.first_line]
    word = (kinds >= characters.LATIN) & (kinds <= characters.HANGUL)
    east = (kinds == characters.HAN) | (kinds == characters.KANA)
    begins = word.copy()
    begins[1:] &= ~word[:-1] | east[1:] | east[:-1]
    position = np.flatnonzero(word)
    begin = begins[position]
    values = _values().take(lines.codes[position], mode="clip")
    values += begin * _UNIT
    prefix = np.zeros(position.size + 1, np.uint64)
    np.cumsum(values * _powers(position.size + 1)[0][: position.size], out=prefix[1:])
    place = np.flatnonzero(begin)
    first_unit = np.searchsorted(place, np.searchsorted(position, first))
    first_unit = np.append(first_unit, place.size)
    document = np.repeat(np.arange(first.size), np.diff(first_unit))
    return Units(np.append(place, position.size), position, document, first_unit, prefix)


def grouped(hashes: Hashes, document: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """An order in which equal hashes of a document are neighbours, and whether each one equals its predecessor.

    Two passes of a radix sort by 32 bits of the hash; documents, which come in order, stay so.
    """
    keys = (hashes >> np.uint64(32)).astype(np.uint32)
    order = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    order = order[np.argsort((keys >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    keys, document = keys[order], document[order]
    same = np.zeros(order.size, bool)
    same[1:] = (keys[1:] == keys[:-1]) & (document[1:] == document[:-1])
    return order, same


def gram_shares(units: Units, size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each document the share of n-grams that occurred before, and the share of units in the commonest one."""
    documents = units.first.size - 1
    hashes, document = units.grams(size)
    total = np.bincount(document, minlength=documents)
    order, same = grouped(hashes, document)
    owner = document[order]
    repeated = np.bincount(owner[same], minlength=documents) / np.maximum(total, 1)
    begins = np.flatnonzero(~same)
    lengths = np.diff(np.append(begins, order.size))
    often = lengths > 1
    most = np.zeros(documents, np.int64)
    np.maximum.at(most, owner[begins[often]], lengths[often])
    counts = np.diff(units.first)
    return repeated, np.minimum(most * size / np.maximum(counts, 1), 1.0)


def repeated_lines(lines: Lines, units: Units, which: npt.NDArray[np.bool_]) -> Ints:
    """Of each document how many characters stand in lines (of those in `which`) that were there before."""
    chosen = np.flatnonzero(which)
    begins = np.searchsorted(units.position, lines.starts[chosen])
    ends = np.searchsorted(units.position, lines.ends[chosen])
    worded = ends > begins
    chosen, begins, ends = chosen[worded], begins[worded], ends[worded]
    document = lines.document[chosen]
    order, same = grouped(units.between(begins, ends), document)
    again = order[same]
    size = lines.counts["size"][chosen[again]]
    return np.bincount(document[again], weights=size, minlength=lines.first_line.size).astype(np.int64)


def hash_words(words: list[str]) -> Hashes:
    """The hashes that single words have as units."""
    values, powers = _values(), _powers(64)[0]
    return np.array(
        [
            np.sum(
                (values[[ord(c) for c in word]] + _UNIT * (np.arange(len(word)) == 0)) * powers[: len(word)]
            )
            for word in words
        ],
        np.uint64,
    )
