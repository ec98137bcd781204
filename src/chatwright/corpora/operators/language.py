"""The step `language`: which language each document is in; on request, only some languages stay.

Chinese, Japanese and Korean are told by their characters, Simplified from Traditional Chinese by the characters that
OpenCC converts, alphabetic languages by CLD2 (Sites, "Compact Language Detector 2", 2013) and, for lines too
short for it, by their small words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators import characters, function_words

UNKNOWN = "und"
_WINDOW = 1000
_FEW = 10
_SHORT = 150
_SURE = 300
_NAMES = {"un": UNKNOWN, "iw": "he", "jw": "jv", "in": "id", "nn": "no", "nb": "no", "sco": "en", "mo": "ro"}
# Languages so seldom written that for a short line a larger neighbour is the better guess.
_RARE = {"gl": "es", "oc": "fr", "co": "it", "af": "nl", "be": "ru", "la": "en", "sk": "cs", "et": "fi"}
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|<[^<>\n]*>", re.DOTALL)
_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
_PASSAGES = re.compile(r"\n[ \t]*\n+")


@dataclass(frozen=True)
class LanguageOptions:
    """Which languages stay."""

    languages: tuple[str, ...] = option(
        (), "the languages that stay, en,zh or zh-Hans,fr (zh is both scripts); none named: all stay"
    )
    passages: bool = option(
        True, "with languages given, leave out foreign paragraphs of the documents that stay"
    )
    passage_letters: int = option(40, "a paragraph with fewer letters stays, whatever its language")


class Language:
    """Every document with its language."""

    Options: ClassVar[type] = LanguageOptions

    def __init__(self, options: LanguageOptions) -> None:
        self._options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        found = identify([doc.text for doc in docs])
        named = [doc.with_language(language) for doc, language in zip(docs, found, strict=True)]
        if not self._options.languages:
            return named
        kept = []
        for doc in named:
            if self._wanted(doc.language):
                kept.append(self._without_foreign(doc, notes) if self._options.passages else doc)
            else:
                wanted = ", ".join(self._options.languages)
                notes.drop(doc, "other language", f"{doc.language}, wanted {wanted}")
        return kept

    def _wanted(self, language: str) -> bool:
        return any(language == name or language.startswith(name + "-") for name in self._options.languages)

    def _without_foreign(self, doc: Doc, notes: Notes) -> Doc:
        """The document without the paragraphs that are in a language that is not wanted; code stays."""
        ends = [match.end() for match in _PASSAGES.finditer(doc.text)]
        if not ends:
            return doc
        passages = [doc.text[a:b] for a, b in zip([0, *ends], [*ends, len(doc.text)], strict=True)]
        foreign = self._foreign(passages)
        if not any(foreign):
            return doc
        text = "".join(
            passage for passage, is_foreign in zip(passages, foreign, strict=True) if not is_foreign
        )
        text = text.rstrip() if foreign[-1] else text
        notes.change(doc, text, "foreign passages", sum(foreign))
        return doc.with_text(text)

    def _foreign(self, passages: list[str]) -> list[bool]:
        foreign, fenced = [], False
        prose = [_without_code(passage) for passage in passages]
        for passage, words, row in zip(passages, prose, _count_scripts(prose), strict=True):
            opens = passage.count("```") % 2 == 1
            scripts = _Scripts(*row)
            enough = sum(scripts[:5]) >= self._options.passage_letters
            foreign.append(enough and not (fenced or opens) and self._is_foreign(words, scripts))
            fenced ^= opens
        return foreign

    def _is_foreign(self, passage: str, scripts: _Scripts) -> bool:
        """Whether a passage is prose in a language that is not wanted; doubt counts for it."""
        language = _east_asian(scripts, 3)
        if not language:
            mixed = bool(_east_asian(scripts, 10))
            if mixed or any(function_words.confirms(passage, name) for name in self._options.languages):
                return False
            language = _prose_language(passage)
        return language != UNKNOWN and not self._wanted(language)


class _Scripts(NamedTuple):
    """How many letters of each script a text has; `simplified` and `traditional` are Han of that side only."""

    latin: int
    other: int
    han: int
    kana: int
    hangul: int
    simplified: int
    traditional: int


def identify(texts: Sequence[str]) -> list[str]:
    """The language of each text: `en`, `zh-Hans`, `zh-Hant`, another ISO 639-1 code, or `und`.

    Long texts are judged by their beginning, middle and end.
    """
    samples = [_sample(text) for text in texts]
    counts = _count_scripts(samples)
    return [_decide(sample, _Scripts(*row)) for sample, row in zip(samples, counts, strict=True)]


def _sample(text: str) -> str:
    if len(text) > 4 * _WINDOW:
        middle = (len(text) - _WINDOW) // 2
        text = "\n".join((text[:_WINDOW], text[middle : middle + _WINDOW], text[-_WINDOW:]))
    return _without_code(text)


def _without_code(text: str) -> str:
    return _NOT_PROSE.sub(" ", text) if "`" in text or "<" in text or "://" in text else text


@cache
def _tables() -> list[Any]:
    kinds, (simplified, traditional) = characters.kinds(), characters.script_sides()
    of = {kind: kinds == getattr(characters, kind) for kind in ("LATIN", "LETTER", "HAN", "KANA", "HANGUL")}
    return [
        characters.packed(of["LATIN"], of["LETTER"], of["HAN"]),
        characters.packed(simplified, traditional),
        characters.packed(of["KANA"], of["HANGUL"]),
    ]


def _count_scripts(samples: list[str]) -> list[list[int]]:
    codes, starts = characters.joined(samples)
    letters, sides, others = _tables()
    latin, other, han = characters.unpacked(characters.per_span(letters.take(codes, mode="clip"), starts))
    simplified, traditional = characters.unpacked(
        characters.per_span(sides.take(codes, mode="clip"), starts), 2
    )
    kana, hangul = characters.unpacked(characters.per_span(others.take(codes, mode="clip"), starts), 2)
    return np.stack([latin, other, han, kana, hangul, simplified, traditional], axis=1).tolist()  # type: ignore[no-any-return]


def _decide(text: str, scripts: _Scripts) -> str:
    letters = scripts.latin + scripts.other
    language = _east_asian(scripts, 6)
    if language or not letters:
        return language or UNKNOWN
    reliable, language = _cld2(text)
    if language.startswith("zh"):
        return _chinese(scripts)
    if (reliable and letters >= _SHORT) or (letters >= _SURE and language != UNKNOWN):
        return language
    if reliable and function_words.confirms(text, language):
        return language
    if letters < _FEW and _is_guessed(text, scripts, reliable, language):
        return UNKNOWN
    return _short_line(text, language, 1.5 if reliable else 0.75)


def _is_guessed(text: str, scripts: _Scripts, reliable: bool, language: str) -> bool:
    """Whether a language of some letters is a guess of CLD2's alone: an alphabet of many languages, no small word."""
    if reliable and language in function_words.WORDS:
        return False
    return bool(scripts.latin or _CYRILLIC.search(text)) and not function_words.score(text)


def _east_asian(scripts: _Scripts, weight: int) -> str:
    """Chinese, Japanese or Korean where their characters, times `weight`, outnumber the letters; else nothing.

    In a Chinese manual most of the characters are Latin: commands, names and code.
    """
    count = scripts.han + scripts.kana + scripts.hangul
    if not count or count * weight < scripts.latin + scripts.other:
        return ""
    if scripts.hangul > scripts.han + scripts.kana:
        return "ko"
    if scripts.kana * 10 > scripts.han + scripts.kana:
        return "ja"
    return _chinese(scripts)


def _chinese(scripts: _Scripts) -> str:
    return "zh-Hant" if scripts.traditional > scripts.simplified else "zh-Hans"


def _prose_language(text: str) -> str:
    """The language of a passage where both CLD2 and its small words say so, else `und`: names and code have none."""
    reliable, language = _cld2(text)
    if not reliable or language.startswith("zh"):
        return UNKNOWN
    if language not in function_words.WORDS:
        return language if len(text) >= _SURE or not text.isascii() else UNKNOWN
    scores = function_words.score(text)
    own = scores.get(language, 0.0)
    return language if own >= 2 and own >= max(scores.values()) else UNKNOWN


def _short_line(text: str, guess: str, margin: float) -> str:
    """The better of CLD2's guess and what the small words say, which have to speak louder by the margin."""
    scores = function_words.score(text)
    best = max(scores, key=lambda name: scores[name], default=UNKNOWN)
    high = scores.get(best, 0.0)
    if guess in function_words.WORDS:
        margin = margin if scores.get(guess) else 0.3
        return guess if scores.get(guess, 0.0) + margin >= high else best
    if guess == UNKNOWN or guess in _RARE:
        if high > 0.5:
            return best
        return "ru" if guess == UNKNOWN and _CYRILLIC.search(text) else _RARE.get(guess, guess)
    return best if high >= 1.5 else guess


def _cld2(text: str) -> tuple[bool, str]:
    """Whether CLD2 is sure, and its best guess. It refuses some valid texts with unprintable characters."""
    import pycld2

    try:
        reliable, _, details = pycld2.detect(text, isPlainText=True, bestEffort=True)[:3]
    except (pycld2.error, ValueError):
        printable = "".join(character if character.isprintable() else " " for character in text)
        try:
            reliable, _, details = pycld2.detect(printable, isPlainText=True, bestEffort=True)[:3]
        except (pycld2.error, ValueError):
            return False, UNKNOWN
    code = details[0][1]
    return bool(reliable), UNKNOWN if code.startswith("xx") else _NAMES.get(code, code)
