"""What flows through the corpus: documents, and the notes of what happened to them on the way."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatwright.config import as_dict

SAMPLES = 10
"""How many documents a reason shows."""

LARGEST = 5
"""How many clusters of documents that are alike are shown by some of their documents."""

SIZES = {"2": 2, "3-5": 5, "6-10": 10}
"""Names of the sizes of clusters and the largest of each; what is larger is `LARGER`."""

LARGER = "11+"

_EXCERPT = 300
_BEFORE = 60


@dataclass(frozen=True, slots=True)
class Doc:
    """One document: where it was found (unique in a corpus), which input it belongs to, and its text.

    `language` is en, zh-Hans, zh-Hant, another ISO code or "und", once the step `language` has set it;
    `marks` are what steps say of a document without dropping it: "toxic", "code" …
    """

    id: str
    source: str
    text: str
    language: str = ""
    marks: tuple[str, ...] = ()

    def with_text(self, text: str) -> Doc:
        """The same document with another text."""
        return Doc(self.id, self.source, text, self.language, self.marks)

    def with_language(self, language: str) -> Doc:
        """The same document, said to be in `language`."""
        return Doc(self.id, self.source, self.text, language, self.marks)

    def with_mark(self, mark: str) -> Doc:
        """The same document with one more mark, or itself where it has the mark."""
        if mark in self.marks:
            return self
        return Doc(self.id, self.source, self.text, self.language, (*self.marks, mark))


class Tally(Counter[str]):
    """Counts by reason that also remember, for each reason, the first place where it occurred."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def add(self, reason: str, place: str) -> None:
        """Count one more `reason`, seen at `place`."""
        self[reason] += 1
        self.places.setdefault(reason, path_text(place))


@dataclass(frozen=True, slots=True)
class Sample:
    """A document as a report shows it.

    `text` is an excerpt: its beginning, or of a changed text what stands about the first difference, and then
    `after` is the same place afterwards. `detail` is what the step says of it.
    """

    id: str
    source: str
    language: str
    detail: str
    text: str
    after: str = ""


@dataclass
class Happening:
    """One reason: how many documents it met, how often in all, their bytes, the first place, some samples.

    `bytes` counts UTF-8: of dropped and marked documents all of them, of changed ones what they lost (negative
    where they grew). The samples are the documents whose ids have the smallest hashes, so that they do not
    depend on how the documents were divided.
    """

    documents: int = 0
    count: int = 0
    bytes: int = 0
    first: str = ""
    samples: list[tuple[str, Sample]] = field(default_factory=list)

    def wants(self, rank: str) -> bool:
        """Whether a document of this rank belongs among the samples."""
        return len(self.samples) < SAMPLES or rank < self.samples[-1][0]

    def keep(self, rank: str, sample: Sample) -> None:
        """Put a sample in its place; the last one gives way."""
        bisect.insort(self.samples, (rank, sample), key=lambda entry: (entry[0], entry[1].id))
        del self.samples[SAMPLES:]

    def merge(self, later: Happening) -> None:
        """Add what happened in documents that come after these."""
        self.first = self.first if self.documents else later.first
        self.documents += later.documents
        self.count += later.count
        self.bytes += later.bytes
        for rank, sample in later.samples:
            if self.wants(rank):
                self.keep(rank, sample)


@dataclass
class Notes:
    """What one step did to one batch of documents, by reason. Notes of many batches merge into those of the whole.

    `clusters` has by size those documents that stay for others: as `documents` how many, as `count` all that they
    stand for. `largest` has by rank, from "1", the documents of the largest clusters, the one that stays first.
    """

    dropped: dict[str, Happening] = field(default_factory=dict)
    changed: dict[str, Happening] = field(default_factory=dict)
    marked: dict[str, Happening] = field(default_factory=dict)
    clusters: dict[str, Happening] = field(default_factory=dict)
    largest: dict[str, Happening] = field(default_factory=dict)

    def drop(self, doc: Doc, reason: str, detail: str = "") -> None:
        """Note that a document was left out; `detail` says more for this one (`43 words, at least 50`)."""
        _note(self.dropped, reason, doc, byte_count(doc.text), 1, detail)

    def change(self, doc: Doc, after: str, reason: str, count: int = 1) -> None:
        """Note that the text of `doc` became `after`, by `count` changes of this kind."""
        lost = byte_count(doc.text) - byte_count(after)
        _note(self.changed, reason, doc, lost, count, "", after)

    def mark(self, doc: Doc, reason: str, detail: str = "") -> None:
        """Note that a document was marked (`doc.with_mark(…)` does it)."""
        _note(self.marked, reason, doc, byte_count(doc.text), 1, detail)

    def stands_for(self, doc: Doc, size: int, rank: int) -> None:
        """Note that a document stays for `size` that are alike, itself among them; one of size 1 is no cluster.

        `rank` is 1 for the largest cluster of the whole corpus; 0 where it is none of the five largest.
        """
        if size > 1:
            name = next((name for name, most in SIZES.items() if size <= most), LARGER)
            _note(self.clusters, name, doc, byte_count(doc.text), size, "")
        if rank:
            _note(self.largest, str(rank), doc, byte_count(doc.text), 1, "stays", order="")

    def like(self, doc: Doc, rank: int, detail: str) -> None:
        """Note that a document went for one that stays, in the cluster of that rank; 0 is none of the largest."""
        if rank:
            _note(self.largest, str(rank), doc, byte_count(doc.text), 1, detail)

    def merge(self, later: Notes) -> None:
        """Add the notes of documents that come after these."""
        for mine, other in zip(vars(self).values(), vars(later).values(), strict=True):
            for reason, happening in other.items():
                mine.setdefault(reason, Happening()).merge(happening)

    def as_json(self) -> dict[str, Any]:
        """As plain values for a file; `from_json` makes the same notes of it."""
        return {kind: as_dict(reasons) for kind, reasons in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Notes:
        """The notes that `as_json` wrote down."""
        return cls(**{kind: {r: _happening(v) for r, v in values[kind].items()} for kind in values})


def _note(
    kind: dict[str, Happening],
    reason: str,
    doc: Doc,
    size: int,
    count: int,
    detail: str,
    after: str | None = None,
    order: str | None = None,
) -> None:
    found = kind.setdefault(reason, Happening(first=doc.id))
    found.documents += 1
    found.count += count
    found.bytes += size
    rank = order
    if rank is None:
        rank = hashlib.blake2b(doc.id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    if found.wants(rank):
        found.keep(rank, _sample(doc, detail, after))


def _sample(doc: Doc, detail: str, after: str | None) -> Sample:
    if after is None:
        return Sample(doc.id, doc.source, doc.language, detail, encodable(doc.text[:_EXCERPT]))
    start = max(0, common_beginning(doc.text, after) - _BEFORE)
    before, now = (encodable(text[start : start + _EXCERPT]) for text in (doc.text, after))
    return Sample(doc.id, doc.source, doc.language, detail, before, now)


def common_beginning(left: str, right: str) -> int:
    """The length of the longest common beginning, by halving."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _happening(values: Mapping[str, Any]) -> Happening:
    samples = [(rank, Sample(**sample)) for rank, sample in values["samples"]]
    return Happening(**{**values, "samples": samples})


def byte_count(text: str) -> int:
    """The length of a text in UTF-8; lone surrogates count three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


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


def path_text(path: str | Path) -> str:
    """A path as valid Unicode; bytes of it that are no UTF-8 as \\xff, so that different paths stay different."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return encodable(str(path))


def without_empty(docs: Iterable[Doc], notes: Notes) -> list[Doc]:
    """Leave out documents of nothing but white space."""
    kept = []
    for doc in docs:
        if not doc.text or doc.text.isspace():
            notes.drop(doc, "empty")
        else:
            kept.append(doc)
    return kept
