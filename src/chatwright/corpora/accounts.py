"""The corpus's accounts: how much text there was, after each step, by input and by language, and what happened.

`corpus_report.json` is `CorpusReport` as JSON, the same bytes whatever the engine and the number of workers:

    read, kept          Size: before and after all steps
    train, validation   Size: as written, with what weights repeat
    files               how many files the inputs held
    inputs              {input: {"read", "kept", "train": Size, "epochs": times that it is in the training side,
                         "share": of training's characters (0 to 1), "wished_share": by `mix`, or null}}
    languages           {language: Size} of what is kept; "" where the step `language` did not run
    steps               a list; the first is `read`:
                        {"name", "options", "before": Size, "after": Size,
                         "languages": {language: Size after}, "sources": {input: Size after},
                         "dropped", "changed", "marked": {reason: Happening}};
                        a step that finds documents alike tells their clusters, each the document that stays and
                        those that went for it:
                        "clusters": {"count", "documents", "share" of those that came to it,
                         "sizes": {"2" | "3-5" | "6-10" | "11+": {"clusters", "documents"}},
                         "largest": [{"documents", "bytes", "kept": sample, "gone": [sample]}], at most five}
    skipped             {reason: {"count", "first"}}: files and rows that could not be read
    skipped_files       {reason: [[path, detail], …]}: every file that was left out or cut short
    warnings            what the user should know, in words

A `Size` is {"documents", "characters", "bytes"}, bytes in UTF-8. A `Happening` (see `documents.py`) is {"documents",
"count", "bytes", "first", "samples"}, and a sample {"id", "source", "language", "detail", "text", "after"}.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from chatwright.config import as_dict
from chatwright.corpora.documents import LARGER, SIZES, Doc, Happening, Notes, Tally
from chatwright.errors import UserError

REPORT = "corpus_report.json"
_FEW_LEFT = 0.5
_KINDS = ("dropped", "changed", "marked")


@dataclass
class Size:
    """How much text: documents, characters, and bytes in UTF-8."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0

    def add(self, other: Size) -> None:
        self.documents += other.documents
        self.characters += other.characters
        self.bytes += other.bytes


SizesJson: TypeAlias = list[tuple[str, str, int, int, int]]


class Sizes(dict[tuple[str, str], Size]):
    """How much text each input has in each language: `(input, language)` to its size."""

    def count(self, docs: Iterable[Doc], sizes: Iterable[int]) -> None:
        """Add documents, given their bytes."""
        for doc, size in zip(docs, sizes, strict=True):
            key = (doc.source, doc.language)
            found = self.get(key)
            if found is None:
                found = self[key] = Size()
            found.documents += 1
            found.characters += len(doc.text)
            found.bytes += size

    def merge(self, other: Sizes) -> None:
        for key, size in other.items():
            self.setdefault(key, Size()).add(size)

    def total(self) -> Size:
        return total(self.values())

    def by_input(self) -> dict[str, Size]:
        return self._by(0)

    def by_language(self) -> dict[str, Size]:
        return dict(sorted(self._by(1).items()))

    def _by(self, part: int) -> dict[str, Size]:
        found: dict[str, Size] = {}
        for key, size in self.items():
            found.setdefault(key[part], Size()).add(size)
        return found

    def as_json(self) -> SizesJson:
        return [(*key, size.documents, size.characters, size.bytes) for key, size in self.items()]

    @classmethod
    def from_json(cls, values: Iterable[Sequence[Any]]) -> Sizes:
        return cls({(source, language): Size(*numbers) for source, language, *numbers in values})


def total(sizes: Iterable[Size]) -> Size:
    """The sum of sizes."""
    result = Size()
    for size in sizes:
        result.add(size)
    return result


@dataclass
class StepAccount:
    """What one step did: how much text it left, its notes, and how long workers computed."""

    name: str
    options: dict[str, Any]
    sizes: Sizes = field(default_factory=Sizes)
    notes: Notes = field(default_factory=Notes)
    seconds: float = 0.0

    def add(self, manifest: Mapping[str, Any]) -> None:
        """Add what a stage wrote down of one part; parts come in order."""
        self.sizes.merge(Sizes.from_json(manifest["sizes"]))
        self.notes.merge(Notes.from_json(manifest["notes"]))
        self.seconds += manifest["seconds"]


@dataclass(frozen=True)
class InOut:
    """What one input gave, what of it the corpus holds, how often it stands in training, and its share of that."""

    read: Size = field(default_factory=Size)
    kept: Size = field(default_factory=Size)
    train: Size = field(default_factory=Size)
    epochs: float = 1.0
    share: float = 0.0
    wished_share: float | None = None


@dataclass(frozen=True)
class CorpusReport:
    """What became of the inputs; the module's docstring has its shape as JSON."""

    read: Size
    kept: Size
    train: Size
    validation: Size
    files: int
    inputs: dict[str, InOut]
    languages: dict[str, Size]
    steps: list[dict[str, Any]]
    skipped: dict[str, dict[str, Any]]
    skipped_files: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    seconds: dict[str, float]

    def full(self) -> dict[str, Any]:
        """With samples, for the report."""
        steps = [
            step | {kind: {r: _with_samples(h) for r, h in step[kind].items()} for kind in _KINDS}
            for step in self.steps
        ]
        found = as_dict(vars(self) | {"steps": steps})
        del found["seconds"]  # differs from run to run
        return dict(found)

    def brief(self) -> dict[str, Any]:
        """Without samples and sizes by step, for run.json."""
        found = vars(self) | {"skipped_files": None}
        steps = [
            {name: step[name] for name in ("name", "before", "after")}
            | {kind: _without_samples(step[kind]) for kind in _KINDS}
            | ({"clusters": without_largest(step["clusters"])} if "clusters" in step else {})
            for step in self.steps
        ]
        return {
            name: as_dict(value) for name, value in (found | {"steps": steps}).items() if value is not None
        }

    def reasons(self, kind: str) -> dict[str, Happening]:
        """Everything `dropped`, `changed` or `marked`, over all steps, by reason."""
        found: dict[str, Happening] = {}
        for step in self.steps:
            for reason, happening in step[kind].items():
                found.setdefault(reason, Happening()).merge(happening)
        return found


def step_accounts(read: Size, accounts: Sequence[StepAccount]) -> list[dict[str, Any]]:
    """The steps as the report holds them; `read` is what came in."""
    found, before = [], read
    for account in accounts:
        after = account.sizes.total()
        found.append(
            {
                "name": account.name,
                "options": account.options,
                "before": before,
                "after": after,
                "languages": account.sizes.by_language(),
                "sources": account.sizes.by_input(),
                **{kind: _named(getattr(account.notes, kind)) for kind in _KINDS},
                **({"clusters": _clusters(account.notes, before)} if account.notes.clusters else {}),
            }
        )
        before = after
    return found


def _clusters(notes: Notes, before: Size) -> dict[str, Any]:
    """The clusters that a step noted, with the documents of the largest."""
    sizes = {
        name: {"clusters": found.documents, "documents": found.count}
        for name in (*SIZES, LARGER)
        for found in [notes.clusters.get(name, Happening())]
    }
    documents = sum(size["documents"] for size in sizes.values())
    largest = []
    for _, found in sorted(notes.largest.items()):
        kept, *gone = (as_dict(sample) for _, sample in found.samples)
        largest.append({"documents": found.documents, "bytes": found.bytes, "kept": kept, "gone": gone})
    return {
        "count": sum(size["clusters"] for size in sizes.values()),
        "documents": documents,
        "share": round(documents / max(1, before.documents), 4),
        "sizes": sizes,
        "largest": largest,
    }


def without_largest(clusters: Mapping[str, Any]) -> dict[str, Any]:
    """The clusters of a step without the texts of their documents."""
    return {name: value for name, value in clusters.items() if name != "largest"}


def warnings_of(accounts: Sequence[StepAccount]) -> list[str]:
    """What stands out in what the steps did: one that drops more than half of what came to it."""
    found = []
    for earlier, account in pairwise(accounts):
        before, after = earlier.sizes.total().documents, account.sizes.total().documents
        if after < _FEW_LEFT * before:
            share = f"{1 - after / before:.0%} of the {before:,} documents that came to it"
            found.append(f"{account.name} dropped {share}; look at its samples")
    return found


def counted(tally: Tally) -> dict[str, dict[str, Any]]:
    """A tally by reason, the most frequent first, each with its first place."""
    return {reason: {"count": count, "first": tally.places[reason]} for reason, count in tally.most_common()}


def read_report(directory: str | Path) -> dict[str, Any]:
    """The full report of a corpus run."""
    path = Path(directory) / REPORT
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"cannot read {path} ({said}); make the corpus with `chatwright corpus`") from None
    return found


def _named(reasons: Mapping[str, Happening]) -> dict[str, Happening]:
    """By reason, the most frequent first."""
    return dict(sorted(reasons.items(), key=lambda entry: (-entry[1].documents, entry[0])))


def _with_samples(found: Happening) -> dict[str, Any]:
    samples = [as_dict(sample) for _, sample in found.samples]
    return {**_plain(found), "samples": samples}


def _plain(found: Happening) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("documents", "count", "bytes", "first")}


def _without_samples(reasons: Mapping[str, Happening]) -> dict[str, Any]:
    return {reason: _plain(found) for reason, found in reasons.items()}
