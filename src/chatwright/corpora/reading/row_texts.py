"""The text of a row: which key holds it, and what is said where none does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError
from chatwright.corpora.reading.skipped import note_skip

_ROWS_TO_TRY = 1000


def texts_of(file: File, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    """`(place, text)` of each row that has a text; the first of `file.fields` that is one.

    Raises `FileError` where the first thousand rows have none.
    """
    any_text = False
    row: Mapping[str, Any] = {}
    for number, (place, row) in enumerate(rows, 1):
        text = next((value for field in file.fields if isinstance(value := row.get(field), str)), None)
        if text is not None:
            any_text = True
            yield place, text
        elif any_text or number < _ROWS_TO_TRY:
            note_skip(file.skipped, "row without text", place)
        else:
            break
    if not any_text and not file.start:
        raise no_text(file, list(row))


def no_text(file: File, found: Sequence[str]) -> FileError:
    """The refusal of a file whose rows have these keys, and none for a text."""
    keys = ", ".join(repr(key) for key in found[:12]) or "none"
    mend = f"its keys are {keys}; say which holds the text with text_field=KEY"
    return FileError(file.path, f"rows without a text in {' or '.join(map(repr, file.fields))}", mend)
