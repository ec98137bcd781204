"""Exact duplicates: of documents with the same text, white space aside, the first stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import Decision, Signs, kept
from chatwright.corpora.operators.duplicates.repeats import Keys, repeats

_WHITE = b" \t\n\r\x0b\x0c"
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))


@dataclass(frozen=True)
class ExactOptions:
    """When two documents count as one."""

    ignore_case: bool = option(False, "whether texts that differ only in the case of A to Z are the same")


class Exact:
    """The step `exact`: of equal documents only the first stays.

    Signatures are 16 bytes a document. `decide` holds them and a few numbers for at most 16 million documents at a
    time: about 1 GB, and one byte for each of all documents.
    """

    Options: ClassVar[type] = ExactOptions

    def __init__(self, options: ExactOptions) -> None:
        self._table = _LOWER if options.ignore_case else None

    def sign(self, docs: list[Doc]) -> Signs:
        """`digests` (D, 2): the BLAKE2 digests of the texts without white space, as two numbers each."""
        whole = b"".join(self._digest(doc.text) for doc in docs)
        return {"digests": np.frombuffer(whole, "<u8").reshape(len(docs), 2)}

    def _digest(self, text: str) -> bytes:
        if not text.isascii():
            text = text.replace("\u3000", "").replace("\xa0", "")
        plain = text.encode("utf-8", "surrogatepass").translate(self._table, _WHITE)
        return hashlib.blake2b(plain, digest_size=16).digest()

    def decide(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> list[Decision]:
        """For each part, which of its documents are the first of their text."""
        counts = [int(np.count_nonzero(mask)) for mask in alive]
        keep = np.ones(sum(counts), bool)

        def digests() -> Iterator[Keys]:
            return (one["digests"][mask] for one, mask in zip(signs, alive, strict=True))

        for places, _ in repeats(digests, len(keep)):
            keep[places] = False
        return list(np.split(keep, np.cumsum(counts)[:-1])) if counts else []

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        """Leave out what was there before."""
        stay = []
        for doc, keep in zip(docs, kept(decision, len(docs)).tolist(), strict=True):
            if keep:
                stay.append(doc)
            else:
                notes.drop(doc, "exact duplicate")
        return stay
