"""Near duplicates: texts that share most of their runs of five words or Chinese characters.

MinHash with locality-sensitive hashing, as Lee et al. (2022, "Deduplicating Training Data Makes Language Models
Better") use it. With `rows` r and `bands` b, texts of similarity s are compared with probability 1 - (1 - s^r)^b: 99.7 %
at s = .8, 15 % at s = .5 for the defaults. What is compared is then judged by the whole sketch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import Decision, Signs
from chatwright.corpora.operators.duplicates import clusters, minhash
from chatwright.errors import UserError

_KEYS_IN_MEMORY = 1 << 29


@dataclass(frozen=True)
class NearOptions:
    """When two documents count as one."""

    similarity: float = option(0.7, "the share of common shingles (Jaccard, estimated) from which one goes")
    words: int = option(5, "words, or Chinese characters, in a shingle")
    bands: int = option(32, "parts of a signature; documents that agree in one of them are compared")
    rows: int = option(8, "numbers in a part; fewer find less similar pairs and compare more")


class Near:
    """The step `near`: of documents that are nearly the same the first stays.

    Case, width, punctuation and the Chinese script make no difference. Signatures take 388 bytes a document, on
    disk; `decide` reads them twice, and holds at most 512 MB of keys and the sketches (256 bytes each) of documents
    that share a key with another.
    """

    Options: ClassVar[type] = NearOptions

    def __init__(self, options: NearOptions) -> None:
        if not 0 < options.similarity <= 1:
            raise UserError(f"near.similarity={options.similarity} is not between 0 and 1; try 0.7")
        for name, most in (("words", 100), ("bands", 1024), ("rows", 64)):
            if not 1 <= getattr(options, name) <= most:
                raise UserError(f"near.{name}={getattr(options, name)} is not between 1 and {most}")
        self.options = options

    def sign(self, docs: list[Doc]) -> Signs:
        """`bands` (D, bands) keys, `sketches` (D, bands × rows) bytes and `sizes` (D,) of the documents."""
        options = self.options
        signed = minhash.signatures([doc.text for doc in docs], options.bands, options.rows, options.words)
        return {"bands": signed.bands, "sketches": signed.sketches, "sizes": signed.sizes}

    def decide(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> list[Decision]:
        """For each part `keep` and, for those that go, their `similarity` to the document that stays."""
        counts = [int(np.count_nonzero(mask)) for mask in alive]
        compared = self._compared(signs, alive, sum(counts))
        bands, sketches = _gather(signs, alive, compared)
        roots = clusters.clusters(bands, sketches, self.options.similarity)
        found = np.zeros(sum(counts), np.float32)
        found[compared] = clusters.duplicates(roots, sketches, self.options.similarity)
        parts = np.split(found, np.cumsum(counts)[:-1]) if counts else []
        return [{"keep": part == 0, "similarity": part} for part in parts]

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        """Leave out what is like an earlier document."""
        assert isinstance(decision, dict)
        stay = []
        for doc, similarity in zip(docs, decision["similarity"].tolist(), strict=True):
            if similarity:
                notes.drop(doc, "near duplicate", f"about {similarity:.2f} like an earlier document")
            else:
                stay.append(doc)
        return stay

    def _compared(
        self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]], total: int
    ) -> npt.NDArray[np.bool_]:
        """(alive,) which documents share a key with another, a few bands at a time where there are many."""
        found = np.zeros(total, bool)
        at_once = max(1, _KEYS_IN_MEMORY // (4 * max(1, total)))
        for start in range(0, self.options.bands, at_once):
            stop = min(start + at_once, self.options.bands)
            keys = [np.zeros((0, stop - start), np.uint32)]
            words = [np.zeros(0, bool)]
            for one, mask in zip(signs, alive, strict=True):
                keys.append(one["bands"][mask, start:stop])
                words.append(one["sizes"][mask] > 0)
            table, has_words = np.concatenate(keys), np.concatenate(words)
            rows = np.flatnonzero(has_words)
            for band in range(stop - start):
                found[rows] |= clusters.shared(table[rows, band])
        return found


def _gather(
    signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]], chosen: npt.NDArray[np.bool_]
) -> tuple[Any, Any]:
    """The bands and sketches of the chosen among the documents alive."""
    bands, sketches, start = [], [], 0
    for one, mask in zip(signs, alive, strict=True):
        places = np.flatnonzero(mask)
        places = places[chosen[start : start + len(places)]]
        start += int(np.count_nonzero(mask))
        bands.append(one["bands"][places])
        sketches.append(one["sketches"][places])
    if not bands:
        return np.zeros((0, 0), np.uint32), np.zeros((0, 0), np.uint8)
    return np.concatenate(bands), np.concatenate(sketches)
