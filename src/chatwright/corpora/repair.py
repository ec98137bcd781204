"""Unicode repair: mojibake undone, line breaks and control characters put right, NFC; nothing else.

Full-width punctuation, curled quotes, ligatures, HTML entities and all that code is made of stay as they are.
Mojibake is recognised and undone by ftfy (Speer, "ftfy", 2019, doi:10.5281/zenodo.2591652).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from chatwright.corpora.documents import Doc, Notes, encodable

_LINE_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
# Control characters, the byte order mark, and the deprecated or internal format characters of Unicode.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufeff\ufff9-\ufffb]")
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u206a-\u206f\ufeff\ufff9-\ufffb]")
# UTF-8 misread byte by byte shows two neighbours that are neither ASCII nor Chinese, one of them a letter or
# sign of a one-byte code page (or a capital A with a mark before a space, for the byte A0). ftfy's own test
# for a bad line is thirty times slower than this one. A pattern that starts with one set of characters is
# what `re` finds fast.
_SUSPECT = re.compile(
    "[\x80-\u2e7f](?:(?<=[\x80-\u06ff])[\x80-\u2e7f]|(?<![\x80-\u06ff])[\x80-\u06ff]"
    "|(?<=[\x80-\x9f])|(?<=[\xc2\xc3]) )"
)


def repair(text: str) -> str:
    """Return the text with broken Unicode mended, in NFC and with line breaks as newlines."""
    if not text.isascii():
        text = encodable(text)
        if _SUSPECT.search(text):
            text = "".join(_undo_mojibake(line) for line in text.splitlines(keepends=True))
    if _ODD.search(text):
        text = _drop_controls(text)
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _undo_mojibake(line: str) -> str:
    if not _SUSPECT.search(line):
        return line
    import ftfy
    from ftfy.badness import is_bad

    return ftfy.fix_text(line, _settings()) if is_bad(line) else line


def _drop_controls(text: str) -> str:
    if "\x1b" in text:
        from ftfy.fixes import remove_terminal_escapes

        text = remove_terminal_escapes(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", _LINE_BREAKS.sub("\n", text))


@cache
def _settings() -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_terminal_escapes=False,
        remove_control_chars=False,
        normalization=None,
    )


def repair_documents(documents: Iterator[Doc], notes: Notes) -> Iterator[Doc]:
    """The operator `repair`: every document repaired; those that changed are counted."""
    for doc in documents:
        text = repair(doc.text)
        if text == doc.text:
            yield doc
        else:
            notes.changed.add("repaired", doc.id)
            yield replace(doc, text=text)
