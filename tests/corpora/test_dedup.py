import sqlite3

import pytest

from chatwright.corpora.dedup import SeenDocuments, drop_exact_duplicates
from chatwright.corpora.documents import Doc, Notes
from chatwright.errors import UserError


def test_first_of_equal_documents_stays_and_the_rest_is_counted() -> None:
    texts = ["a", "b", "a\n", "A", " b", "a b", "a  b"]
    documents = [Doc(str(number), "s", text) for number, text in enumerate(texts)]
    notes = Notes()
    assert [doc.id for doc in drop_exact_duplicates(iter(documents), notes)] == ["0", "1", "3", "5", "6"]
    assert notes.dropped == {"exact duplicate": 2}
    assert notes.dropped.places == {"exact duplicate": "2"}


def test_agrees_with_a_set_on_many() -> None:
    texts = [str(number * number % 7919) for number in range(20_000)]
    with SeenDocuments() as seen:
        new = [seen.add(text) for text in texts]
    known: set[str] = set()
    for text, is_new in zip(texts, new, strict=True):
        assert is_new == (text not in known)
        known.add(text)


def test_full_disk_is_the_users_to_mend() -> None:
    class Full:
        def execute(self, *arguments: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    with SeenDocuments() as seen:
        database, seen._database = seen._database, Full()  # type: ignore[assignment]
        with pytest.raises(UserError, match=r"disk is full; free some space .* TMPDIR"):
            seen.add("x")
        seen._database = database
