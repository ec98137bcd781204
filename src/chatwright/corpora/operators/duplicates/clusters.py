"""Which of many texts are near duplicates of an earlier one, from their bands and sketches, in numpy.

Texts that share a band's key are candidates; a pair counts when its sketches agree enough. Counted pairs make
clusters (union-find, Galler and Fischer 1964). A chain of pairs can join texts that are not alike, so in each cluster
the first text stays and only what is like it goes, then the first of the rest stays, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.duplicates.minhash import Bands, Sketches, similarity

Places = npt.NDArray[np.int64]

_NEIGHBOURS = 4
_LEADERS = 200
_PAIRS = 1 << 16


def shared(keys: Bands) -> npt.NDArray[np.bool_]:
    """(N,) whether another text has the same key in a band; `keys` (N,) are those of that band."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    found = np.zeros(len(keys), bool)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return found


def candidates(keys: Bands) -> tuple[Places, Places]:
    """Pairs `(earlier, later)` of texts with the same key: each with the first of its bucket and its next few."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    opens = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    first = np.repeat(opens, np.diff(opens, append=len(ranked)))
    far = np.flatnonzero(np.arange(len(ranked)) - first > _NEIGHBOURS)
    pairs = [(order[first[far]], order[far])]
    for step in range(1, _NEIGHBOURS + 1):
        near = np.flatnonzero(ranked[step:] == ranked[:-step])
        pairs.append((order[near], order[near + step]))
    left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return left, right


def similarities(sketches: Sketches, left: Places, right: Places) -> npt.NDArray[np.float32]:
    """(P,) the estimated similarity of each pair, 65,536 pairs at a time."""
    spans = range(0, len(left), _PAIRS)
    found = [similarity(sketches[left[i : i + _PAIRS]], sketches[right[i : i + _PAIRS]]) for i in spans]
    return np.concatenate(found) if found else np.zeros(0, np.float32)


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


def clusters(bands: Bands, sketches: Sketches, least: float) -> Places:
    """(N,) for each text the first text of its cluster; pairs below the similarity `least` join nothing."""
    roots = np.arange(len(bands), dtype=np.int64)
    for band in range(bands.shape[1]):
        left, right = candidates(bands[:, band])
        apart = roots[left] != roots[right]
        left, right = left[apart], right[apart]
        alike = similarities(sketches, left, right) >= least
        roots = merge(roots, left[alike], right[alike])
    return roots


def duplicates(roots: Places, sketches: Sketches, least: float) -> npt.NDArray[np.float32]:
    """(N,) the similarity to the text that stays instead of this one; 0 for a text that stays.

    Of one cluster at most 200 texts stay; what is then left of a chain so long goes with it.
    """
    found = np.zeros(len(roots), np.float32)
    for leaders, members in _rounds(roots, found):
        alike = similarities(sketches, leaders, members)
        found[members] = np.where(alike >= least, np.maximum(alike, np.float32(1e-6)), found[members])
    return found


def _rounds(roots: Places, found: npt.NDArray[np.float32]) -> Iterator[tuple[Places, Places]]:
    """Pairs `(leader, member)`, round by round; the one who takes them notes in `found` which members go."""
    order = np.argsort(roots, kind="stable")
    counts = np.bincount(roots, minlength=len(roots))
    left = order[counts[roots[order]] > 1]
    for _ in range(_LEADERS):
        if not len(left):
            return
        opens = np.concatenate([[True], roots[left[1:]] != roots[left[:-1]]])
        places = np.flatnonzero(opens)
        leaders = np.repeat(left[places], np.diff(places, append=len(left)))
        leaders, left = leaders[~opens], left[~opens]
        yield leaders, left
        left = left[found[left] == 0]
    found[left] = np.float32(1e-6)
