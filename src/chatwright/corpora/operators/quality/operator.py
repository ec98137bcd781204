"""The step `quality`: documents that break a rule are dropped, code and markup are marked."""

from __future__ import annotations

from typing import ClassVar

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.language import identify
from chatwright.corpora.operators.quality import boilerplate
from chatwright.corpora.operators.quality.measures import measure
from chatwright.corpora.operators.quality.rules import CODE, EAST, MARKUP, QualityOptions, breaches, is_marked


class Quality:
    """Drops what breaks a rule; each document for the first rule that it breaks."""

    Options: ClassVar[type] = QualityOptions

    def __init__(self, options: QualityOptions) -> None:
        self._options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        if not docs:
            return []
        languages = languages_of(docs)
        east = [is_east(language) for language in languages]
        measures = measure([doc.text for doc in docs], east)
        reasons: dict[int, tuple[str, str]] = {}
        for breach in breaches(languages, measures, self._options):
            for place, number in enumerate(breach.documents.tolist()):
                reasons.setdefault(number, (breach.rule.reason, breach.detail(place)))
        marks = {
            **dict.fromkeys(is_marked(measures)[0].nonzero()[0].tolist(), CODE),
            **dict.fromkeys(is_marked(measures)[1].nonzero()[0].tolist(), MARKUP),
        }
        kept = []
        for number, doc in enumerate(docs):
            if number in reasons:
                notes.drop(doc, *reasons[number])
                continue
            if number in marks:
                notes.mark(doc, marks[number])
                doc = doc.with_mark(marks[number])
            elif self._options.boilerplate_lines and measures["boilerplate"][number]:
                doc = self._without_boilerplate(doc, east[number], notes)
            kept.append(doc)
        return kept

    def _without_boilerplate(self, doc: Doc, east: bool, notes: Notes) -> Doc:
        text, count = boilerplate.without_edges(doc.text, east)
        if not count:
            return doc
        notes.change(doc, text, "boilerplate lines", count)
        return doc.with_text(text)


def is_east(language: str) -> bool:
    """Whether a language is written without spaces between words."""
    return language.partition("-")[0] in EAST


def languages_of(docs: list[Doc]) -> list[str]:
    """The documents' languages; those that the step `language` has not set are identified now."""
    unknown = iter(identify([doc.text for doc in docs if not doc.language]))
    return [doc.language or next(unknown) for doc in docs]
