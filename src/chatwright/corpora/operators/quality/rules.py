"""The rules: what is measured, against which threshold, and of which documents.

They come from Gopher (Rae et al., 2021, "Scaling Language Models", appendix A), C4 (Raffel et al., 2020) and FineWeb
(Penedo et al., 2024, "The FineWeb Datasets"). Chinese has thresholds of its own: its lines are shorter, its words
have no spaces, its sentences end in other marks. They were set where good and bad texts part: docs/quality.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.config import at_least, option
from chatwright.corpora.operators.quality.measures import Measures
from chatwright.errors import UserError

Flags: TypeAlias = npt.NDArray[np.bool_]

CODE: Final = "code"
MARKUP: Final = "markup"

# Thresholds that are counts, lengths and ratios; every other one is a share.
_NO_SHARES = (
    "min_words",
    "zh_min_characters",
    "min_word_length",
    "max_word_length",
    "max_hashes",
    "max_sentence",
    "zh_max_sentence",
)


@dataclass(frozen=True)
class QualityOptions:
    """Thresholds. Those that begin with `zh_` are for Chinese and Japanese, the others for languages with spaces."""

    min_words: int = option(10, "words that a document has at least")
    zh_min_characters: int = option(15, "characters that a Chinese document has at least")
    max_boilerplate: float = option(0.3, "share of notices, log-in and sharing lines")
    boilerplate_lines: bool = option(True, "leave out such lines at the beginning and the end of a document")
    max_broken: float = option(0.02, "share of characters that could not be decoded")
    max_latin1: float = option(0.25, "share of characters between U+0080 and U+00FF")
    zh_max_rare: float = option(0.2, "share of Han characters outside daily use, as wrong encodings give")
    min_letters: float = option(0.65, "share of letters among all but white space")
    zh_min_letters: float = option(0.55, "share of letters and Han characters")
    min_word_length: float = option(2.5, "mean length of words")
    max_word_length: float = option(20.0, "mean length of words")
    max_hashes: float = option(0.1, "number signs and ellipses for each word")
    max_items: float = option(0.95, "share of lines that are list items")
    max_links: float = option(0.75, "share of lines that are links")
    max_ellipses: float = option(0.3, "share of lines that end in an ellipsis")
    max_short_lines: float = option(0.67, "share of lines under 30 characters without a mark at the end")
    zh_max_short_lines: float = option(0.7, "share of lines under 12 characters without a mark at the end")
    min_ended: float = option(0.04, "share of lines that end a sentence")
    zh_min_ended: float = option(0.02, "share of lines that end a sentence")
    max_sentence: float = option(650.0, "mean length of sentences; a text without any counts five times")
    zh_max_sentence: float = option(350.0, "mean length of sentences; a text without any counts five times")
    min_stop_words: float = option(0.12, "share of small words in English (the, of, and …)")
    zh_min_stop_words: float = option(0.01, "share of small words in Chinese (的, 是, 在, 了, 和 …)")
    max_misplaced: float = option(0.07, "share of articles before a word that cannot follow: shuffled text")
    zh_max_misplaced: float = option(0.05, "share of particles after a comma and the like: shuffled text")
    max_repeats: float = option(0.5, "share of 4-grams that occurred before")
    zh_max_repeats: float = option(0.42, "share of 8-grams of characters that occurred before")
    max_top: float = option(0.3, "share of the text that one 4-gram covers")
    zh_max_top: float = option(0.3, "share of the text that one 8-gram of characters covers")
    max_repeated_lines: float = option(0.35, "share of characters in lines that were there before")
    code_max_repeats: float = option(0.9, "share of repeated n-grams in code and tables")
    code_max_digits: float = option(0.4, "share of digits in code and tables")

    def __post_init__(self) -> None:
        at_least(self, 0, *_NO_SHARES, group="quality.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _NO_SHARES and not 0 <= value <= 1:
                raise UserError(f"quality.{field.name}={value:g} is not a share between 0 and 1")


@dataclass(frozen=True)
class Rule:
    """One threshold: documents whose `measure` is beyond it are dropped for `reason`.

    The option of the name is for languages with spaces, `zh` for Chinese and Japanese; empty: no such threshold.
    `enough` names a measure and how much of it a document needs for the rule to mean anything.
    """

    reason: str
    measure: str
    spaced: str
    zh: str
    enough: tuple[str, float] = ("size", 1)
    language: str = ""
    """Only in this language (zh for both scripts); empty: in all."""
    code: str = ""
    """The option for documents of code or markup; empty: they pass."""

    @property
    def is_least(self) -> bool:
        """Whether the threshold is the least value that stays."""
        return "min_" in self.spaced + self.zh

    def applies(self, groups: Mapping[str, Flags], measures: Measures, east: bool) -> Flags:
        """Of which documents the rule speaks; `groups` says of each document what it is."""
        speaks: Flags = (measures[self.enough[0]] >= self.enough[1]) & (groups["east"] == east)
        if not self.code:
            speaks &= ~groups["marked"]
        if self.language:
            speaks &= groups[self.language]
        return speaks


EAST = ("zh", "ja")

RULES = (
    Rule("too short", "tokens", "min_words", "", code="min_words"),
    Rule("too short", "size", "", "zh_min_characters", code="zh_min_characters"),
    Rule("boilerplate", "boilerplate", "max_boilerplate", "max_boilerplate"),
    Rule("broken characters", "broken", "max_broken", "max_broken", code="max_broken"),
    Rule("wrong encoding", "latin1", "max_latin1", "max_latin1", ("size", 20), code="max_latin1"),
    Rule("rare characters", "rare", "zh_max_rare", "zh_max_rare", ("han", 20), code="zh_max_rare"),
    Rule(
        "too many digits",
        "digits",
        "code_max_digits",
        "code_max_digits",
        ("size", 100),
        code="code_max_digits",
    ),
    Rule("few letters", "letters", "min_letters", "zh_min_letters", ("text", 0.2)),
    Rule("short words", "word_length", "min_word_length", "", ("words", 10)),
    Rule("long words", "word_length", "max_word_length", "", ("words", 1)),
    Rule("number signs", "hashes", "max_hashes", "", ("words", 20)),
    Rule("list", "items", "max_items", "max_items", ("lines", 10)),
    Rule("links", "links", "max_links", "max_links", ("lines", 8), code="max_links"),
    Rule("cut lines", "ellipses", "max_ellipses", "max_ellipses", ("plain_lines", 3)),
    Rule("short lines", "short", "max_short_lines", "zh_max_short_lines", ("plain_lines", 8)),
    Rule("lines without end", "ended", "min_ended", "zh_min_ended", ("prose_lines", 8)),
    Rule("no sentences", "sentence", "max_sentence", "zh_max_sentence"),
    Rule("few small words", "stops", "min_stop_words", "", ("words", 40), "en"),
    Rule("few small words", "stops", "", "zh_min_stop_words", ("han", 150), "zh"),
    Rule("words out of order", "misplaced", "max_misplaced", "", ("words", 20), "en"),
    Rule("words out of order", "misplaced", "", "zh_max_misplaced", ("han", 20), "zh"),
    Rule(
        "repeated phrases", "repeats", "max_repeats", "zh_max_repeats", ("units", 30), code="code_max_repeats"
    ),
    Rule("one phrase", "top", "max_top", "zh_max_top", ("units", 30)),
    Rule("repeated lines", "repeated_lines", "max_repeated_lines", "max_repeated_lines", ("lines", 4)),
)


@dataclass(frozen=True)
class Breach:
    """The documents that one rule drops: their numbers, and for each the value and the threshold."""

    rule: Rule
    documents: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    threshold: float

    def detail(self, place: int) -> str:
        """`0.12, at most 0.05`: the value and the threshold of one of the documents."""
        side = "at least" if self.rule.is_least else "at most"
        return f"{_short(self.values[place])}, {side} {_short(self.threshold)}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def is_marked(measures: Measures) -> tuple[Flags, Flags]:
    """Which documents are code, and which are tables and tags: at least half of their characters."""
    return measures["code"] >= 0.5, (measures["markup"] >= 0.5) & (measures["code"] < 0.5)


def breaches(languages: Sequence[str], measures: Measures, options: QualityOptions) -> list[Breach]:
    """All breaches of all rules, in order of the rules; a document may be in several.

    `languages` are `en`, `zh-Hans` …, one for each document.
    """
    short = np.array([language.partition("-")[0] for language in languages])
    code, markup = is_marked(measures)
    marked = code | markup
    groups = {"en": short == "en", "zh": short == "zh", "marked": marked}
    groups["east"] = groups["zh"] | (short == "ja")
    found = []
    for rule in RULES:
        values = measures[rule.measure]
        for east, name in ((False, rule.spaced), (True, rule.zh)):
            if not name:
                continue
            speaks = rule.applies(groups, measures, east)
            for among, key in ((speaks & ~marked, name), (speaks & marked, rule.code)):
                if not key or not among.any():
                    continue
                threshold = float(getattr(options, key))
                beyond = values < threshold if rule.is_least else values > threshold
                documents = np.flatnonzero(among & beyond)
                if documents.size:
                    found.append(Breach(rule, documents, values[documents], threshold))
    return found
