"""The signatures of a whole corpus, read from disk a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.contract import Signs
from chatwright.corpora.operators.duplicates.minhash import Bands, Sketches

Places = npt.NDArray[np.int64]

_KEY_BYTES = 1 << 28


class Signed:
    """What `near` signed of the N documents alive, which count through all parts.

    Nothing of the signatures is held: `keys` goes over the parts once for each 256 MB of keys, `sketches` once a call
    over those that hold what is asked for.
    """

    def __init__(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> None:
        self._signs, self._alive = signs, alive
        self.counts = [int(np.count_nonzero(mask)) for mask in alive]
        self.total = sum(self.counts)
        self._ends = np.cumsum([0, *self.counts])

    def keys(self, bands: int) -> Iterator[tuple[Places, Bands]]:
        """For each band the places (W,) of the documents that have words, and their keys (W,)."""
        at_once = max(1, _KEY_BYTES // (4 * max(1, self.total)))
        for start in range(0, bands, at_once):
            stop = min(start + at_once, bands)
            table = np.empty((stop - start, self.total), np.uint32)
            has_words = np.empty(self.total, bool)
            for number, (first, last) in enumerate(zip(self._ends[:-1], self._ends[1:], strict=True)):
                one, mask = self._signs[number], self._alive[number]
                table[:, first:last] = one["bands"][mask, start:stop].T
                has_words[first:last] = one["sizes"][mask] > 0
            places = np.flatnonzero(has_words)
            for band in table:
                yield places, band[places]

    def sketches(self, places: Places) -> Sketches:
        """The sketches (P, numbers) of the documents at `places` (P,), which ascend."""
        found: npt.NDArray[Any] | None = None
        borders = np.searchsorted(places, self._ends)
        for number in np.flatnonzero(np.diff(borders)).tolist():
            first, last = borders[number], borders[number + 1]
            rows = np.flatnonzero(self._alive[number])[places[first:last] - self._ends[number]]
            part = self._signs[number]["sketches"]
            if found is None:
                found = np.empty((len(places), part.shape[1]), np.uint8)
            found[first:last] = part[rows]
        return np.empty((0, 1), np.uint8) if found is None else found
