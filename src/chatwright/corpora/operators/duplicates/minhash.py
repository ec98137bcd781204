"""MinHash sketches (Broder 1997) and their bands for locality-sensitive hashing (Indyk and Motwani 1998).

Two texts of Jaccard similarity s agree in each of the numbers of a sketch with probability s, so the share of numbers
in which they agree estimates s, with a standard deviation of at most sqrt(s(1 - s) / numbers): .029 for 256 numbers at
s = .7. Of each number only eight bits are kept for that (Li and König 2010), which the estimate allows for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.duplicates.tokens import shingles

Bands = npt.NDArray[np.uint32]
Sketches = npt.NDArray[np.uint8]

_SEED = 1
_CHANCE = 1 / 256
_GROUP = 1 << 20
_MIX = np.uint32(0x85EBCA6B)


@dataclass(frozen=True)
class Signatures:
    """Of D texts: `bands` (D, bands) keys, `sketches` (D, numbers) low bytes, `sizes` (D,) shingles, 0 where none."""

    bands: Bands
    sketches: Sketches
    sizes: npt.NDArray[np.uint32]


def signatures(texts: Sequence[str], bands: int, rows: int, words: int) -> Signatures:
    """Sign each text by `bands` × `rows` numbers over its shingles of `words` words."""
    parts = [_sign(group, bands, rows, words) for group in groups(texts)]
    if not parts:
        parts = [_sign([""], bands, rows, words)]
    columns = [np.concatenate(column)[: len(texts)] for column in zip(*parts, strict=True)]
    return Signatures(*columns)


def groups(texts: Sequence[str], characters: int = _GROUP) -> Iterator[list[str]]:
    """The texts in lists of about so many characters, so that what is computed of a list stays small."""
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text) + 64
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group


def _sign(texts: Sequence[str], bands: int, rows: int, words: int) -> tuple[Bands, Sketches, Bands]:
    from rensa import RMinHash

    hashes, ends = shingles(texts, words)
    offsets = np.concatenate([[0], ends]).astype(np.uint64)
    numbers = bands * rows
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, numbers, _SEED)
    flat = chain.from_iterable(matrix.to_rows())
    table = np.fromiter(flat, np.uint32, len(texts) * numbers).reshape(len(texts), bands, rows)
    keys = np.zeros((len(texts), bands), np.uint32)
    for row in range(rows):
        keys = (keys ^ table[:, :, row]) * _MIX
        keys ^= keys >> np.uint32(15)
    sizes = np.diff(ends, prepend=0).astype(np.uint32)
    return keys, table.reshape(len(texts), numbers).astype(np.uint8), sizes


def similarity(left: Sketches, right: Sketches) -> npt.NDArray[np.float32]:
    """(P,) estimates of the Jaccard similarity from pairs of sketches (P, numbers)."""
    agreed = np.count_nonzero(left == right, axis=1) / left.shape[1]
    estimate: npt.NDArray[np.float32] = np.maximum((agreed - _CHANCE) / (1 - _CHANCE), 0).astype(np.float32)
    return estimate
