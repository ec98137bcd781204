"""One sentence a line, by sentencex (Wikimedia's rules for many languages). Off unless it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.errors import UserError

_UNKNOWN = "en"
_BREAK = re.compile(r"[ \t]*\n[ \t]*")
_HAN_BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])[ \t]*\n[ \t]*(?=[\u3000-\u9fff\uff00-\uffef])")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True)
class SentencesOptions:
    """How text is split."""

    language: str = option(
        "", "the language of all text, as en or zh; empty takes what the step language found"
    )


class Sentences:
    """The step `sentences`: each sentence on a line of its own, a blank line between paragraphs.

    Line breaks within a sentence become spaces, or nothing between Chinese characters. Code and tables lose their
    shape.
    """

    Options: ClassVar[type] = SentencesOptions

    def __init__(self, options: SentencesOptions) -> None:
        if not re.fullmatch(r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]+)?)?", options.language):
            raise UserError(f"sentences.language={options.language} is no language; give en, zh, de …")
        self.options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        """The documents with their sentences on lines."""
        split = []
        for doc in docs:
            after = "\n".join(sentence_lines(doc.text, self.options.language or doc.language))
            if after == doc.text:
                split.append(doc)
            else:
                notes.change(doc, after, "sentences on lines", after.count("\n") + 1)
                split.append(doc.with_text(after))
        return split


def sentence_lines(text: str, language: str) -> Iterator[str]:
    """The sentences of a text, an empty line between paragraphs; `language` as en or zh-Hant, empty if unknown."""
    from sentencex import segment

    code = language.partition("-")[0]
    code = _UNKNOWN if code in ("", "und") else code
    for number, paragraph in enumerate(filter(str.strip, _BLANK_LINE.split(text))):
        if number:
            yield ""
        for sentence in segment(code, paragraph):
            if sentence.strip():
                yield _BREAK.sub(" ", _HAN_BREAK.sub("", sentence.strip()))
