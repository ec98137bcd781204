"""Search by words: BM25 over SQLite's full-text index, Chinese cut into words first.

SQLite's own tokenizer takes a run of Chinese characters for one word, and its trigrams find no word of two characters,
which most Chinese words are; so the text is indexed as words with spaces between them, and questions are cut alike.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from chatwright.serving.documents.passages import Passage

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 64
_TABLES = """
CREATE TABLE passages (id INTEGER PRIMARY KEY, title TEXT, source TEXT, text TEXT);
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2');
"""


def words_of(text: str) -> list[str]:
    """The words of a text, in order: Chinese by dictionary, also the short ones within long ones; all else between what
    is no letter or digit. Full-width letters are as ordinary ones."""
    import rjieba

    def spaced(found: re.Match[str]) -> str:
        return f" {' '.join(rjieba.cut_for_search(found[0]))} "

    plain = unicodedata.normalize("NFKC", text)
    return _WORD.findall(_HAN.sub(spaced, plain))


def write_words(path: Path, passages: Iterable[Passage]) -> int:
    """Write passages and their index into a new file; returns how many there are."""
    count = 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_TABLES)
        for passage in passages:
            row = (passage.id, passage.title, passage.source, passage.text)
            connection.execute("INSERT INTO passages VALUES (?, ?, ?, ?)", row)
            words = " ".join(words_of(f"{passage.title}\n{passage.text}"))
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (passage.id, words))
            count += 1
    return count


class Words:
    """The passages of a file that `write_words` wrote. Safe among threads: each call opens the file for itself."""

    def __init__(self, path: Path) -> None:
        self._address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"

    def __len__(self) -> int:
        with self._open() as connection:
            return int(connection.execute("SELECT count(*) FROM passages").fetchone()[0])

    def search(self, text: str, count: int) -> list[int]:
        """The ids of the passages that share words with the text, the best one first (BM25, Robertson 1994)."""
        words = list(dict.fromkeys(word.casefold() for word in words_of(text)))[:_MOST_WORDS]
        if not words:
            return []
        # words hold letters and digits alone, and in quotes none of them is an operator
        question = " OR ".join(f'"{word}"' for word in words)
        with self._open() as connection:
            rows = connection.execute(
                "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid LIMIT ?",
                (question, count),
            )
            return [row[0] for row in rows]

    def passages(self, ids: Iterable[int]) -> dict[int, Passage]:
        """The passages of those ids that there are."""
        wanted = list(ids)
        marks = ", ".join("?" * len(wanted))
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT id, title, source, text FROM passages WHERE id IN ({marks})", wanted
            )
            return {row[0]: Passage(*row) for row in rows}

    def all(self) -> Iterator[Passage]:
        """Every passage, by its id."""
        with self._open() as connection:
            for row in connection.execute("SELECT id, title, source, text FROM passages ORDER BY id"):
                yield Passage(*row)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._address, uri=True)) as connection:
            yield connection
