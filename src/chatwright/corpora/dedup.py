"""Exact duplicates, found in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Self

from chatwright.corpora.documents import Doc, Notes, digest
from chatwright.errors import UserError

_CACHE_KIB = 64 << 10


class SeenDocuments:
    """The set of texts seen so far: 16-byte digests in a nameless database on disk, gone with the process.

    Memory is the cache of 64 MB, whatever the number of documents. Texts that differ only in the white space
    around them count as the same.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for setting in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "locking_mode = EXCLUSIVE"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, text: str) -> bool:
        """Add a text; true when it is new."""
        try:
            done = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest(text),))
        except sqlite3.OperationalError as error:
            mend = "free some space in the folder of temporary files, or set TMPDIR to another"
            raise UserError(f"cannot note which documents were seen: {error}; {mend}") from None
        return done.rowcount == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()


def drop_exact_duplicates(documents: Iterator[Doc], notes: Notes) -> Iterator[Doc]:
    """The operator `exact_dedup`: of equal documents only the first stays."""
    with SeenDocuments() as seen:
        for doc in documents:
            if seen.add(doc.text):
                yield doc
            else:
                notes.dropped.add("exact duplicate", doc.id)
