"""What a reader of one file is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chatwright.corpora.reading.raw import OnBytes, ignore
from chatwright.corpora.reading.skipped import Skipped

TEXT_FIELDS = ("text", "content", "document", "body")
"""Where the text of a row is looked for, unless the option `text_field` says."""


def _nothing() -> None:
    """Tells nobody that a unit begins."""


@dataclass
class File:
    """One file to read, and those who are told of it.

    A reader is a function `documents(file)` that yields `(id, text)`, where ids begin with `name`. What it leaves
    out it notes in `skipped`; a file that gives nothing is a `FileError`. `begin` is called before each unit of work
    (a page, a record, a batch of rows), for each of which there is a limit of time; the first `start` units are left out, as
    they were read before.
    """

    path: Path
    name: str
    skipped: Counter[str] = field(default_factory=Skipped)
    text_field: str | None = None
    on_bytes: OnBytes = ignore
    begin: Callable[[], None] = _nothing
    start: int = 0

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys under which a row may have its text, the likeliest first."""
        return (self.text_field,) if self.text_field else TEXT_FIELDS
