"""What flows through the corpus: documents, and the notes of what happened to them on the way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Doc:
    """One document: where it was found (unique in a corpus), which input it belongs to, and its text."""

    id: str
    source: str
    text: str


class Tally(Counter[str]):
    """Counts by reason that also remember, for each reason, the first place where it occurred."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def add(self, reason: str, place: str) -> None:
        """Count one more `reason`, seen at `place`."""
        self[reason] += 1
        self.places.setdefault(reason, encodable(place))


@dataclass
class Notes:
    """What the operators did: documents dropped and documents changed, by reason."""

    dropped: Tally = field(default_factory=Tally)
    changed: Tally = field(default_factory=Tally)


Operator: TypeAlias = Callable[[Iterator[Doc], Notes], Iterator[Doc]]
"""One step of the corpus. It streams, and every document it leaves out is added to `notes.dropped`."""


def digest(text: str) -> bytes:
    """The 16-byte BLAKE2 digest of a text without the white space around it."""
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()


def encodable(text: str) -> str:
    """The text (or file name) as valid Unicode: surrogate pairs joined, lone surrogates left out."""
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def drop_empty(documents: Iterator[Doc], notes: Notes) -> Iterator[Doc]:
    """Leave out documents of nothing but white space."""
    for doc in documents:
        if not doc.text or doc.text.isspace():
            notes.dropped.add("empty", doc.id)
        else:
            yield doc
