import dataclasses
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.config import dumps
from chatwright.corpora.documents import (
    SAMPLES,
    Doc,
    Notes,
    Sample,
    Tally,
    byte_count,
    digest,
    encodable,
    path_text,
    without_empty,
)


def doc(number: int, text: str = "some text") -> Doc:
    return Doc(f"id{number}", "s", text, "en")


def test_tally_remembers_the_first_place() -> None:
    tally = Tally()
    for place in ("a:1", "a:2"):
        tally.add("broken", place)
    assert tally == {"broken": 2}
    assert tally.places == {"broken": "a:1"}


def test_digest_ignores_only_the_white_space_around() -> None:
    assert digest(" a b\n") == digest("a b") != digest("a  b")
    assert len(digest("\ud800")) == 16


def test_encodable() -> None:
    assert encodable("一 é 🙂") == "一 é 🙂"
    assert encodable("a\ud83d\ude42b\udc00c") == "a🙂bc"


def test_a_document_with_something_else_about_it() -> None:
    first = Doc("1", "s", "x", "en", ("code",))
    assert first.with_text("y") == dataclasses.replace(first, text="y")
    assert first.with_language("fr") == dataclasses.replace(first, language="fr")
    assert first.with_mark("toxic").marks == ("code", "toxic")
    assert first.with_mark("code") is first


def test_empty_documents_are_dropped_and_noted() -> None:
    notes = Notes()
    found = without_empty([Doc("1", "s", "x"), Doc("2", "s", ""), Doc("3", "s", " \n\u3000")], notes)
    assert [doc.id for doc in found] == ["1"]
    assert (notes.dropped["empty"].documents, notes.dropped["empty"].first) == (2, "2")


def test_notes_count_documents_times_and_bytes() -> None:
    notes = Notes()
    notes.drop(doc(1, "四字"), "short", "2 characters, at least 50")
    notes.change(doc(2, "aaa bbb aaa"), "bbb", "cut", count=2)
    notes.change(doc(3, "x"), "x and y", "grown")
    notes.mark(doc(4), "toxic")
    short, cut = notes.dropped["short"], notes.changed["cut"]
    assert (short.documents, short.count, short.bytes, short.first) == (1, 1, 6, "id1")
    assert short.samples[0][1] == Sample("id1", "s", "en", "2 characters, at least 50", "四字")
    assert (cut.documents, cut.count, cut.bytes) == (1, 2, 8)
    assert notes.changed["grown"].bytes == -6
    assert notes.marked["toxic"].bytes == 9


@pytest.mark.parametrize("length", [0, 10, 59, 60, 61, 400, 5000])
def test_a_change_shows_the_place_where_it_begins(length: int) -> None:
    notes = Notes()
    notes.change(doc(1, "." * length + "BEFORE" + "." * 999), "." * length + "AFTER" + "." * 999, "change")
    sample = notes.changed["change"].samples[0][1]
    assert "BEFORE" in sample.text
    assert "AFTER" in sample.after
    assert max(len(sample.text), len(sample.after)) <= 300


def noted(numbers: list[int]) -> Notes:
    notes = Notes()
    for number in numbers:
        notes.drop(doc(number, "x" * (number + 1)), f"reason {number % 2}")
        notes.change(doc(number), "after", "change", count=number % 3 + 1)
    return notes


@given(st.lists(st.integers(0, 200), unique=True, max_size=80), st.lists(st.integers(0, 80), max_size=5))
def test_notes_do_not_depend_on_how_documents_are_divided(numbers: list[int], cuts: list[int]) -> None:
    merged, start = Notes(), 0
    for end in [*sorted(cut for cut in cuts if cut < len(numbers)), len(numbers)]:
        merged.merge(noted(numbers[start:end]))
        start = end
    assert merged == noted(numbers)
    assert all(len(found.samples) <= SAMPLES for found in merged.dropped.values())


def test_samples_do_not_depend_on_the_order() -> None:
    numbers = list(range(300))
    first = noted(numbers).dropped["reason 1"].samples
    random.Random(0).shuffle(numbers)
    assert noted(numbers).dropped["reason 1"].samples == first
    assert len(first) == SAMPLES


def test_merging_leaves_what_is_merged_alone() -> None:
    first, second = noted([1, 2, 3]), noted([4, 5, 6])
    target = Notes()
    for each in (first, second):
        target.merge(each)
    assert (first, second) == (noted([1, 2, 3]), noted([4, 5, 6]))


def test_notes_go_through_a_file() -> None:
    import json

    notes = noted(list(range(30)))
    assert Notes.from_json(json.loads(dumps(notes.as_json()))) == notes


@given(st.text(st.characters()))
def test_byte_count(text: str) -> None:
    assert byte_count(text) == len(text.encode("utf-8", "surrogatepass"))


def test_a_path_is_told_as_valid_unicode_that_stays_its_own() -> None:
    assert path_text(Path("a/é.txt")) == "a/é.txt"
    assert path_text(os.fsdecode(b"\xff.txt")) == r"\xff.txt"
    assert path_text("a\ud83d\ude42b\udc00c") == "a🙂bc"
