"""The text of a PDF: page after page, without what stands at the head and foot of every page, lines joined."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError, open_file

LARGEST = 512 << 20
"""A file of more bytes is refused."""

MOST_PAGES = 20_000

_NUMBERS = re.compile(r"\d+|\b[ivxlc]+\b", re.IGNORECASE)
_PAGE_NUMBER = re.compile(r"[-–— ]*(?:\d{1,4}|[ivxlc]{1,6})[-–— ]*", re.IGNORECASE)
_ENDS = tuple(".!?:;。！？：；…”\"')）】")
_CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_ITEM = re.compile(r"\s*(?:[-•*·▪–]\s|\(?\d{1,3}[.)、]\s?|第[一二三四五六七八九十百\d]+[章节条])")
_SHORT = 0.7
_FEW_PAGES = 4
_RUNNING = 0.5


def documents(file: File) -> Iterator[tuple[str, str]]:
    """`(id, text)` of the one document. See `File`."""
    file.begin()
    with open_file(file.path) as opened:
        if os.fstat(opened.fileno()).st_size > LARGEST:
            raise FileError(file.path, f"PDF of more than {LARGEST >> 20} MB", "split it, or leave it out")
        data = opened.read()
    file.on_bytes(len(data))
    text = pdf_text(data, file)
    if not text:
        raise FileError(file.path, "PDF without text", "if it is scanned, run a text recognition first")
    yield file.name, text


def pdf_text(data: bytes, file: File) -> str:
    """The text of a PDF given as bytes. Raises `FileError` for one that is encrypted or cannot be parsed."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileError(file.path, "encrypted PDF", "remove its password, or leave it out")
        return join_pages(_page_texts(reader))
    except FileError:
        raise
    except (PyPdfError, RecursionError) as error:
        raise broken(file, error) from None
    except (
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        AssertionError,
    ) as error:
        # What a parser of hostile input stumbles over comes in every type.
        raise broken(file, error) from None
    except (NotImplementedError, ImportError) as error:
        said = " ".join(str(error).split())[:120]
        raise FileError(file.path, "PDF of a kind that is not read", f"convert it to text ({said})") from None


def broken(file: File, error: BaseException) -> FileError:
    """The refusal of a PDF that cannot be parsed."""
    said = " ".join(f"{type(error).__name__} {error}".split())[:120]
    return FileError(file.path, "broken PDF", f"make it again ({said})")


def _page_texts(reader: Any) -> list[str]:
    texts = []
    for number, page in enumerate(reader.pages):
        if number == MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES} pages")
        texts.append(page.extract_text() or "")
    return texts


def join_pages(pages: Sequence[str]) -> str:
    """One text of the pages' texts: running heads and page numbers left out, wrapped lines joined to paragraphs."""
    lines = [[line.strip() for line in page.split("\n")] for page in pages]
    running = _running_lines(lines)
    kept = [line for page in lines for line in _without_running(page, running)]
    width = _usual_width(kept)
    paragraphs: list[str] = []
    going_on = False
    for line in kept:
        if not line:
            going_on = False
            continue
        if going_on and paragraphs and not _ITEM.match(line):
            paragraphs[-1] = _joined(paragraphs[-1], line)
        else:
            paragraphs.append(line)
        going_on = _goes_on(line, width)
    return "\n".join(paragraphs).strip()


def _key(line: str) -> str:
    return _NUMBERS.sub("0", line)


def _edges(page: Sequence[str]) -> list[str]:
    filled = [line for line in page if line]
    return list(dict.fromkeys(_key(line) for line in filled[:2] + filled[-2:]))


def _running_lines(pages: Sequence[Sequence[str]]) -> set[str]:
    """Lines that stand at the edge of most pages, numbers apart. The left and right pages of a book may differ."""
    if len(pages) < _FEW_PAGES:
        return set()
    counts = Counter(key for page in pages for key in _edges(page))
    return {key for key, count in counts.items() if count >= _RUNNING * 0.8 * len(pages)}


def _without_running(page: Sequence[str], running: set[str]) -> list[str]:
    filled = [number for number, line in enumerate(page) if line]
    gone = {number for number in (*filled[:2], *filled[-2:]) if _key(page[number]) in running}
    gone |= {number for number in (*filled[:1], *filled[-1:]) if _PAGE_NUMBER.fullmatch(page[number])}
    return [line for number, line in enumerate(page) if number not in gone]


def _usual_width(lines: Sequence[str]) -> int:
    widths = sorted(len(line) for line in lines if line)
    return widths[int(0.75 * len(widths))] if widths else 0


def _goes_on(line: str, width: int) -> bool:
    """Whether a line was broken because it was full: a short one that ends a sentence ends its paragraph."""
    if len(line) >= _SHORT * width:
        return not (line.endswith(_ENDS) and len(line) < 0.9 * width)
    return False


def _joined(before: str, line: str) -> str:
    if before.endswith("-") and before[-2:-1].isalpha() and line[:1].islower():
        return before[:-1] + line
    if _CJK.match(before[-1:]) and _CJK.match(line):
        return before + line
    return f"{before} {line}"
