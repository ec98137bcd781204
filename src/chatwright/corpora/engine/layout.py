"""Which document goes where: the side of each, how often it stands there, and which parts make a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.engine.parts import StoredArrays, write_arrays
from chatwright.corpora.operators.mixing import Wish, epochs
from chatwright.corpora.split import VALIDATION, sides

SHARD_CHARACTERS = 1 << 26
"""About how much a shard holds: 64 MB of English, 190 MB of Chinese."""

LAYOUT_FORMAT = 2
"""Counts up when the same documents and wishes are laid out differently."""


@dataclass(frozen=True)
class Layout:
    """The parts of each training shard, what of a text that is cut stays in training, the epochs of each input."""

    shards: list[list[str]]
    share: float
    epochs: dict[str, float]


def lay_out(
    names: Sequence[str],
    ends: Path,
    target: Path,
    fraction: float,
    inputs: Sequence[str],
    wishes: Mapping[str, Wish],
) -> Layout | None:
    """Decide for all documents of the parts `names`, in their order, and write it to `target`; None without documents.

    `ends` holds for each part what `ends_of` told. `wishes` say how often each of the `inputs` stands in training, or
    which share of its characters it makes; validation holds a document once. `target` has `PART/sides` (int8) and
    `PART/copies` (int16) for every part. Memory: 80 bytes a document.
    """
    stored = [_End(**found) for found in StoredArrays([ends / f"{name}.npz" for name in names])]
    counts = [len(end.position) for end in stored]
    if not sum(counts):
        return None
    numbers = {name: number for number, name in enumerate(inputs)}
    places = np.concatenate([end.position for end in stored])
    characters = np.concatenate([end.characters for end in stored])
    source = np.concatenate([end.numbered(numbers) for end in stored])
    found, share = sides(places, characters, fraction)
    train = found != VALIDATION
    sizes = np.bincount(source[train], characters[train], len(inputs)).astype(np.int64).tolist()
    times = epochs(dict(zip(inputs, sizes, strict=True)), wishes)
    copies = np.ones(len(places), np.int16)
    for number, wished in enumerate(times.values()):
        of_input = train & (source == number)
        copies[of_input] = _copies(wished, places[of_input], characters[of_input])
    cuts = np.cumsum(counts)[:-1]
    arrays = {}
    for name, *both in zip(names, np.split(found, cuts), np.split(copies, cuts), strict=True):
        arrays[f"{name}/sides"], arrays[f"{name}/copies"] = both
    write_arrays(target, arrays)
    lengths = [int(part.sum()) for part in np.split(characters * copies * train, cuts)]
    return Layout(grouped(names, lengths, SHARD_CHARACTERS), share, times)


@dataclass(frozen=True)
class _End:
    """What the layout needs to know of one part."""

    position: npt.NDArray[np.float64]
    characters: npt.NDArray[np.int64]
    source: npt.NDArray[np.int32]
    sources: npt.NDArray[Any]

    def numbered(self, numbers: Mapping[str, int]) -> npt.NDArray[np.int32]:
        """The number of each document's input among all."""
        known = np.array([numbers[str(name)] for name in self.sources], np.int32)
        return known[self.source] if len(known) else self.source


def _copies(
    times: float, places: npt.NDArray[np.float64], characters: npt.NDArray[np.int64]
) -> npt.NDArray[np.int16]:
    """How often each document of one input stands in training, so that its characters stand `times` times.

    All stand as often as `times` is whole; the rest goes to the documents of the smallest draws, as many as come
    nearest to it. The draws are the bits of the places, mixed by splitmix64's finish: equal texts are drawn alike.
    """
    whole = int(times)
    if times == whole:
        return np.full(len(places), whole, np.int16)
    bits = (places * 2.0**53).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    rank: npt.NDArray[np.int64] = np.unique(bits, return_inverse=True)[1]
    reached = np.concatenate([[0.0], np.cumsum(np.bincount(rank, characters))])
    more = int(np.abs(reached - (times - whole) * characters.sum()).argmin())
    return (whole + (rank < more)).astype(np.int16)


def grouped(names: Sequence[str], sizes: Sequence[int], most: int) -> list[list[str]]:
    """Neighbours in groups; a group ends with the one that brings it to `most`."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in zip(names, sizes, strict=True):
        if filled >= most:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups
