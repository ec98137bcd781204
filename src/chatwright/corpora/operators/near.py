"""Near duplicates: texts that share most of their runs of five words or Chinese characters.

MinHash with locality-sensitive hashing, as Lee et al. (2022, "Deduplicating Training Data Makes Language Models
Better") use it. With `rows` r and `bands` b, texts of similarity s are compared with probability 1 - (1 - s^r)^b: 99.7 %
at s = .8, 15 % at s = .5 for the defaults. What is compared is then judged by the whole sketch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import LARGEST, Doc, Notes
from chatwright.corpora.operators.contract import Decision, Signs
from chatwright.corpora.operators.duplicates import clusters, minhash
from chatwright.corpora.operators.duplicates.signed import Places, Signed
from chatwright.errors import UserError


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
    disk; `decide` goes over them several times. It holds 256 MB of keys, the sketches (256 bytes each) of at most two
    million documents or of one cluster that is larger, and about 130 bytes for each of all.
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
        """For each part, what becomes of its D documents.

        `keep` (D,) and, for those that go, `similarity` (D,) to the document that stays. `size` (D,) says how many
        documents one that stays stands for, with itself; `rank` (D,) is 1 for all of the largest cluster, 2 for those
        of the next one, to 5; 0 for the others.
        """
        signed, least = Signed(signs, alive), self.options.similarity
        roots = clusters.clusters(signed.total, signed.keys(self.options.bands), signed.sketches, least)
        stays, similarity = clusters.duplicates(roots, signed.sketches, least)
        sizes = np.bincount(stays, minlength=signed.total).astype(np.uint32)
        columns = {
            "keep": similarity == 0,
            "similarity": similarity,
            "size": sizes,
            "rank": _ranks(stays, sizes),
        }
        borders = np.cumsum(signed.counts)[:-1]
        split = {name: np.split(column, borders) for name, column in columns.items()}
        return [{name: split[name][part] for name in split} for part in range(len(signed.counts))]

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        """Leave out what is like an earlier document."""
        assert isinstance(decision, dict)
        stay = []
        rows = zip(*(decision[name].tolist() for name in ("similarity", "size", "rank")), strict=True)
        for doc, (similarity, size, rank) in zip(docs, rows, strict=True):
            if similarity:
                said = f"about {similarity:.2f} like "
                notes.drop(doc, "near duplicate", f"{said}an earlier document")
                notes.like(doc, rank, f"{said}the one that stays")
            else:
                stay.append(doc)
                notes.stands_for(doc, size, rank)
        return stay


def _ranks(stays: Places, sizes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """(N,) for the documents of the five largest clusters 1 to 5; of equal ones the earlier is before."""
    firsts = np.flatnonzero(sizes > 1)
    order = np.argsort(-sizes[firsts].astype(np.int64), kind="stable")
    ranks = np.zeros(len(stays), np.uint8)
    for rank, first in enumerate(firsts[order[:LARGEST]], 1):
        ranks[stays == first] = rank
    return ranks
