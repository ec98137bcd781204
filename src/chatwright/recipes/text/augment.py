"""`augment`: more rows from a file of rows, each with a changed text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from chatwright.config import at_least, option
from chatwright.corpora.augment.fields import places_of, put_at, text_at
from chatwright.corpora.augment.thesaurus import built_in, read_thesaurus
from chatwright.corpora.augment.ways import delete_words, replace_words, swap_words
from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.raw import TEXT_TYPES, kind
from chatwright.corpora.reading.rows import rows
from chatwright.errors import UserError
from chatwright.files import written_aside
from chatwright.progress import bar, say
from chatwright.recipes.verb import verb

WAYS = ("synonyms", "swap", "delete", "back_translation")
_TOGETHER = 64
Row = dict[str, Any]


@dataclass(frozen=True)
class AugmentOptions:
    """What is changed, and how much."""

    ways: tuple[str, ...] = option(
        ("synonyms", "swap", "delete"),
        "of synonyms, swap, delete, back_translation; a copy takes one, in turn",
    )
    copies: int = option(1, "changed copies of every row")
    share: float = option(0.1, "of the words of a text that change, at least one")
    originals: bool = option(True, "write the rows as they were too")
    field: str | None = option(
        None, "the field whose text is changed (default: text, prompt …, or what the user says)"
    )
    synonyms: str | None = option(
        None, "a file of synonyms, a group a line, or Cilin's, instead of the built-in ones"
    )
    translators: tuple[str, ...] = option((), "two runs that translate, there and back: for back_translation")
    seed: int = option(0, "draws what changes, from (seed, row, copy)")

    def __post_init__(self) -> None:
        unknown = [way for way in self.ways if way not in WAYS]
        if unknown or not self.ways:
            raise UserError(f"ways={','.join(self.ways)}: give some of {', '.join(WAYS)}")
        at_least(self, 1, "copies")
        if not 0 < self.share <= 0.5:
            raise UserError(f"share={self.share} must be above 0 and at most 0.5")
        if ("back_translation" in self.ways) != bool(self.translators):
            raise UserError("back_translation and translators=THERE,BACK belong together; give both")
        if self.translators and len(self.translators) != 2:
            raise UserError("translators= takes two runs, there and back")


@verb(AugmentOptions)
def augment(source: str | Path, out: str | Path, options: AugmentOptions) -> dict[str, Any]:
    """Write more rows: of JSON Lines, JSON, CSV, Parquet or plain lines, each row and changed copies of it, as JSON Lines.

    All other fields, labels among them, stay. A copy that comes out equal to its row is left out.
    """
    place, skipped, told = Path(source), Tally(), Counter[str]()
    if not place.is_file():
        raise UserError(f"{place} is no file; give one of rows or of lines")
    if Path(out).exists() and Path(out).samefile(place):
        raise UserError(f"{out} is the source itself, which would be lost; write to another file")
    change = _Changer(options)
    with bar("augmenting") as shown, written_aside(str(out)) as written:
        assert written is not None
        stream = _rows(place, skipped)
        while part := list(islice(stream, _TOGETHER)):
            for row in _augmented(part, change, options, told):
                written.write(json.dumps(row, ensure_ascii=False) + "\n")
            shown.update(told["rows"], f"{told['copies']:,} copies")
        if not told["rows"]:
            raise UserError(f"{place} has no row with a text; say where it is with field=KEY")
    say(f"  {told['rows']:,} rows, {told['copies']:,} changed copies: {out}")
    for reason, count in (*skipped.items(), ("copies equal to their row", told["equal"])):
        if count:
            say(f"  left out {count:,}: {reason}")
    return {"file": str(out), **{name: told[name] for name in ("rows", "copies", "equal")}}


def _rows(place: Path, skipped: Tally) -> Iterator[tuple[str, Row]]:
    if kind(place)[0] in TEXT_TYPES:
        lines = place.read_text(encoding="utf-8-sig").splitlines()
        return ((f"{place}:{number}", {"text": line}) for number, line in enumerate(lines, 1) if line.strip())
    return ((where, dict(row)) for where, row in rows(place, skipped))


def _augmented(
    part: Sequence[tuple[str, Row]], change: _Changer, options: AugmentOptions, told: Counter[str]
) -> Iterator[Row]:
    """Each row, and behind it its copies."""
    found = [(row, places_of(row, where, options.field)) for where, row in part]
    jobs = [
        Job(text_at(row, at), options.ways[(number + copy) % len(options.ways)], (number, copy, place))
        for number, (row, places) in enumerate(found, told["rows"])
        for copy in range(options.copies)
        for place, at in enumerate(places)
    ]
    changed = iter(change(jobs))
    for row, places in found:
        told["rows"] += 1
        if options.originals:
            yield row
        for _ in range(options.copies):
            other = deepcopy(row)
            for at in places:
                put_at(other, at, next(changed))
            told["equal" if other == row else "copies"] += 1
            if other != row:
                yield other


@dataclass(frozen=True)
class Job:
    """A text, how it is to be changed, and (row, copy, place), from which that is drawn."""

    text: str
    way: str
    number: tuple[int, int, int]


class _Changer:
    """Changes texts, each by its way."""

    def __init__(self, options: AugmentOptions) -> None:
        self._options = options
        self._thesaurus = read_thesaurus(Path(options.synonyms)) if options.synonyms else built_in()
        self._translators: list[Any] = []
        if options.translators:
            from chatwright.generation.translation import Translator

            self._translators = [Translator.load(run) for run in options.translators]

    def __call__(self, jobs: Sequence[Job]) -> list[str]:
        abroad = [job.text for job in jobs if job.way == "back_translation"]
        for translator in self._translators:
            abroad = translator.translate(abroad)
        returned = iter(abroad)
        return [next(returned) if job.way == "back_translation" else self._changed(job) for job in jobs]

    def _changed(self, job: Job) -> str:
        share, rng = self._options.share, np.random.default_rng([self._options.seed, *job.number])
        if job.way == "synonyms":
            return replace_words(job.text, share, self._thesaurus, rng)
        return (swap_words if job.way == "swap" else delete_words)(job.text, share, rng)
