"""Documents cut into passages: whole sentences up to a size, each with the title of its document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from chatwright.corpora.documents import Doc

_TITLE = 80
# A sentence ends with its marks and the quotes that close it, or with its line.
_SENTENCE = re.compile(r"[^\n]*?(?:[。！？…]+[”’」』）)》】]*|[.!?]+[\"'”’)\]]*(?=\s)|\n+|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Passage:
    """A piece of a document: the document's title, where it was read from, and the words. Ids count from 1."""

    id: int
    title: str
    source: str
    text: str


def cut(doc: Doc, size: int) -> Iterator[tuple[str, str]]:
    """The passages of a document as (title, text), each of at most `size` bytes in UTF-8, so that English and Chinese
    passages hold about as many tokens. A sentence that is longer is cut between characters."""
    title = title_of(doc)
    gathered: list[str] = []
    used = 0
    for sentence in _sentences(doc.text, size):
        length = len(sentence.encode("utf-8", "replace"))
        if gathered and used + length > size:
            yield from _passage(title, gathered)
            gathered, used = [], 0
        gathered.append(sentence)
        used += length
    yield from _passage(title, gathered)


def _passage(title: str, sentences: list[str]) -> Iterator[tuple[str, str]]:
    text = "".join(sentences).strip()
    if text:
        yield title, text


def _sentences(text: str, size: int) -> Iterator[str]:
    for match in _SENTENCE.finditer(text):
        at, end = match.span()
        while at < end:
            piece = _head(text[at : min(end, at + size + 1)], size)
            yield piece
            at += len(piece)


def _head(text: str, size: int) -> str:
    """A beginning of at most `size` bytes: all where that fits, else up to a white space in the second half of what
    fits, else what fits."""
    content = text.encode("utf-8", "replace")
    if len(content) <= size:
        return text
    head = content[:size].decode("utf-8", "ignore") or text[0]
    space = max(head.rfind(" "), head.rfind("\t"))
    return head[: space + 1] if space >= len(head) // 2 else head


def title_of(doc: Doc) -> str:
    """The first line where it looks like a title (a heading, or short without a full stop), else the file's name."""
    first = next((line.strip() for line in doc.text.splitlines() if line.strip()), "")
    heading = first.lstrip("#").strip()
    is_title = first.startswith("#") or not first.endswith(
        (".", "。", "!", "！", "?", "？", ",", "，", ";", "；")
    )
    if heading and is_title and len(heading) <= _TITLE and heading != doc.text.strip():
        return heading
    return PurePath(doc.id).name[:_TITLE] or "?"
