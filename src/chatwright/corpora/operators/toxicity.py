"""Abuse, hate and pornographic advertising: documents full of such terms are marked, or dropped.

By a lexicon, as C4 (Raffel et al. 2020) and most corpora after it do, but by how dense its terms stand and not by the
first one: dropping at one bad word removes text about minorities and medicine (Dodge et al. 2021). A classifier that
learns from your own examples can judge beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes, byte_count
from chatwright.corpora.operators import scanning
from chatwright.corpora.operators.classifier import Classifier, ClassifierOptions
from chatwright.errors import UserError

OWN_TERMS = Path(__file__).with_name("toxic_terms.txt")

_TERMS_AT_ONCE = 800
_LATIN = re.compile(r"[\x00-\u024f]+")


@dataclass(frozen=True)
class ToxicityOptions:
    """When a document is toxic, and what happens then."""

    action: Literal["mark", "drop"] = option("mark", "mark: say so (`toxic`); drop: leave it out")
    density: float = option(0.5, "terms of the lexicon in a thousand bytes from which a document is toxic")
    least: int = option(2, "the fewest terms of a toxic document")
    lexicon: Path | None = option(None, "a file of more terms, one a line, # before comments")
    toxic: tuple[Path, ...] = option(
        (), "files of toxic examples, from which a classifier learns beside the lexicon"
    )
    harmless: tuple[Path, ...] = option((), "files of harmless examples for it")
    threshold: float = option(0.9, "the classifier's probability from which a document is toxic")


class Toxicity:
    """The step `toxicity`: toxic documents get the mark `toxic`, or go with `action=drop`.

    About 2 ms a MB for the own list, and 3 more for each 800 terms of another.
    """

    Options: ClassVar[type] = ToxicityOptions

    def __init__(self, options: ToxicityOptions) -> None:
        if options.density < 0 or options.least < 1:
            raise UserError(
                f"toxicity.density={options.density} or toxicity.least={options.least} is too small; try 0.5 and 2"
            )
        self.options = options
        terms = [*read_terms(OWN_TERMS), *(read_terms(options.lexicon) if options.lexicon else [])]
        self._patterns = list(_patterns(terms))
        self._classifier = _classifier(options)

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        """The documents with marks, or without the toxic ones."""
        texts = [doc.text for doc in docs]
        counts = self._counts(texts)
        scores = 1 - self._classifier.scores(texts) if self._classifier else np.zeros(len(docs))
        stay = []
        for doc, count, score in zip(docs, counts.tolist(), scores.tolist(), strict=True):
            why = self._why(doc, count, score)
            if not why:
                stay.append(doc)
            elif self.options.action == "drop":
                notes.drop(doc, "toxic", why)
            else:
                notes.mark(doc, "toxic", why)
                stay.append(doc.with_mark("toxic"))
        return stay

    def _counts(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(D,) how often terms of the lexicon stand in each text."""
        laid_out = scanning.Texts(texts)
        counts = np.zeros(len(texts), np.int64)
        for pattern in self._patterns:
            counts += laid_out.occurrences(pattern)
        return counts

    def _why(self, doc: Doc, count: int, score: float) -> str:
        if self._classifier and score >= self.options.threshold:
            accuracy = self._classifier.held_out.accuracy
            return f"probability {score:.2f} by a classifier that is right on {accuracy:.1%} of examples held out"
        if count < self.options.least:
            return ""
        density = 1000 * count / byte_count(doc.text)
        return f"{count} terms, {density:.1f} in 1,000 bytes" if density >= self.options.density else ""


def read_terms(path: Path) -> list[str]:
    """The terms of a lexicon file. Raises UserError where there is none, or it is not UTF-8, or holds no term."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"cannot read toxicity.lexicon={path}: {said}; give a UTF-8 text, one term a line"
        ) from None
    terms = [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not terms:
        raise UserError(f"toxicity.lexicon={path} holds no term; write one a line")
    return terms


def _patterns(terms: Sequence[str]) -> Iterator[str]:
    """RE2 patterns of at most 800 terms each: more make it slow at once."""
    import opencc

    traditional = opencc.OpenCC("s2t")
    forms = sorted({form for term in terms for form in (term, traditional.convert(term))})
    for start in range(0, len(forms), _TERMS_AT_ONCE):
        chosen = forms[start : start + _TERMS_AT_ONCE]
        words = [_spaced(form) for form in chosen if _LATIN.fullmatch(form)]
        runs = [re.escape(form) for form in chosen if not _LATIN.fullmatch(form)]
        parts = [rf"\b(?:{'|'.join(words)})s?\b"] if words else []
        yield "|".join([*parts, *runs])


def _spaced(term: str) -> str:
    return r"\s+".join(map(re.escape, term.split()))


def _classifier(options: ToxicityOptions) -> Classifier | None:
    if not options.toxic and not options.harmless:
        return None
    if not options.toxic or not options.harmless:
        raise UserError(
            "the classifier of toxicity needs examples of both kinds: toxicity.toxic=FILE toxicity.harmless=FILE"
        )
    return Classifier(ClassifierOptions(good=options.harmless, bad=options.toxic))
