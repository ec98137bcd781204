"""Which of many texts are near duplicates of an earlier one, from their bands and sketches, in numpy.

Texts that share a band's key are candidates; a pair counts when its sketches agree enough. Counted pairs make
clusters (union-find, Galler and Fischer 1964). A chain of pairs can join texts that are not alike, so in each cluster
the first text stays and only what is like it goes, then the first of the rest stays, and so on.

Sketches are read as they are needed, of at most two million texts at a time: pairs are judged a million at once, and
clusters are looked at in groups. Beside them stand about 130 bytes a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.duplicates.minhash import Bands, Sketches, similarity
from chatwright.corpora.operators.duplicates.signed import Places

Read: TypeAlias = Callable[[Places], Sketches]
"""Gives the sketches of the texts at places that ascend."""

_NEIGHBOURS = 4
_LEADERS = 200
_COMPARED = 1 << 16
_PAIRS = 1 << 20
_TEXTS = 1 << 21


def candidates(keys: Bands) -> Iterator[tuple[Places, Places]]:
    """Pairs `(earlier, later)` of texts with the same key: each with the first of its bucket and its next few.

    They come in turns of at most as many pairs as there are texts.
    """
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    for step in range(1, _NEIGHBOURS + 1):
        near = np.flatnonzero(ranked[step:] == ranked[:-step])
        if not len(near):
            return
        yield order[near], order[near + step]
    opens = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    first = np.repeat(opens, np.diff(opens, append=len(ranked)))
    far = np.flatnonzero(np.arange(len(ranked)) - first > _NEIGHBOURS)
    yield order[first[far]], order[far]


def similarities(read: Read, left: Places, right: Places) -> npt.NDArray[np.float32]:
    """(P,) the estimated similarity of each pair, whose sketches are read once and held together."""
    places, rows = np.unique(np.concatenate([left, right]), return_inverse=True)
    return _compared(read(places), rows[: len(left)], rows[len(left) :])


def _compared(sketches: Sketches, left: Places, right: Places) -> npt.NDArray[np.float32]:
    """The similarities of pairs of rows of `sketches`, 65,536 pairs at a time."""
    found = np.zeros(len(left), np.float32)
    for start in range(0, len(left), _COMPARED):
        span = slice(start, start + _COMPARED)
        found[span] = similarity(sketches[left[span]], sketches[right[span]])
    return found


def merge(roots: Places, left: Places, right: Places) -> Places:
    """The roots (N,) after joining pairs; a text's root is the first text of its cluster.

    Each round hangs the root of every pair under the smallest one that a pair connects it with, and then shortens
    all ways to one step; the rounds are about the logarithm of the longest chain.
    """
    roots = roots.copy()
    while True:
        one, other = roots[left], roots[right]
        apart = one != other
        if not apart.any():
            return roots
        left, right = left[apart], right[apart]
        one, other = one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while True:
            further = roots[roots]
            if np.array_equal(further, roots):
                break
            roots = further


def clusters(total: int, bands: Iterable[tuple[Places, Bands]], read: Read, least: float) -> Places:
    """(N,) for each of `total` texts the first text of its cluster; pairs below the similarity `least` join nothing.

    `bands` gives for each band the places of some texts and their keys.
    """
    roots = np.arange(total, dtype=np.int64)
    waiting = np.zeros(0, np.int64)
    # Joining early spares pairs of texts that others have joined by then; each time takes a pass over the sketches.
    enough = min(_PAIRS, total // 4 + 1)
    for places, keys in bands:
        for earlier, later in candidates(keys):
            left, right = places[earlier], places[later]
            apart = roots[left] != roots[right]
            if not apart.any():
                continue
            waiting = np.union1d(waiting, left[apart] * total + right[apart])
            if len(waiting) >= enough:
                roots = _joined(roots, waiting, read, least)
                waiting = waiting[:0]
    return _joined(roots, waiting, read, least)


def _joined(roots: Places, pairs: Places, read: Read, least: float) -> Places:
    """The roots after judging pairs, each written as one number: the earlier text × N + the later one."""
    for start in range(0, len(pairs), _PAIRS):
        left, right = np.divmod(pairs[start : start + _PAIRS], len(roots))
        apart = roots[left] != roots[right]
        left, right = left[apart], right[apart]
        alike = similarities(read, left, right) >= least
        roots = merge(roots, left[alike], right[alike])
    return roots


def duplicates(roots: Places, read: Read, least: float) -> tuple[Places, npt.NDArray[np.float32]]:
    """(N,) which text stays for each one, itself or an earlier one, and (N,) the similarity to it; 0 for what stays.

    Of one cluster at most 200 texts stay; what is then left of a chain so long goes with its first text.
    """
    stays = np.arange(len(roots), dtype=np.int64)
    found = np.zeros(len(roots), np.float32)
    for places in _groups(roots):
        leaders, alike = _judged(np.searchsorted(places, roots[places]), read(places), least)
        stays[places], found[places] = places[leaders], alike
    return stays, found


def _groups(roots: Places) -> Iterator[Places]:
    """The places of all texts of some whole clusters, ascending: two million texts, or one cluster that has more."""
    sizes = np.bincount(roots, minlength=len(roots))
    firsts = np.flatnonzero(sizes > 1)
    members = np.flatnonzero(sizes[roots] > 1)
    members = members[np.argsort(roots[members], kind="stable")]
    ends = np.cumsum(sizes[firsts])
    start, begin = 0, 0
    while start < len(firsts):
        stop = max(start + 1, int(np.searchsorted(ends, begin + _TEXTS, side="right")))
        end = int(ends[stop - 1])
        yield np.sort(members[begin:end])
        start, begin = stop, end


def _judged(roots: Places, sketches: Sketches, least: float) -> tuple[Places, npt.NDArray[np.float32]]:
    """`duplicates` among texts of which all sketches are here; every cluster has at least two of them."""
    stays, found = np.arange(len(roots), dtype=np.int64), np.zeros(len(roots), np.float32)
    left = np.argsort(roots, kind="stable")
    for _ in range(_LEADERS):
        opens = np.concatenate([[True], roots[left[1:]] != roots[left[:-1]]])
        places = np.flatnonzero(opens)
        leaders = np.repeat(left[places], np.diff(places, append=len(left)))[~opens]
        left = left[~opens]
        if not len(left):
            return stays, found
        alike = _compared(sketches, leaders, left)
        goes = alike >= least
        found[left[goes]] = np.maximum(alike[goes], np.float32(1e-6))
        stays[left[goes]] = leaders[goes]
        left = left[~goes]
        if not len(left):
            return stays, found
    found[left], stays[left] = np.float32(1e-6), roots[left]
    return stays, found
