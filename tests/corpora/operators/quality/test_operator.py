import importlib.util
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import make_step
from chatwright.corpora.operators.quality.operator import Quality
from chatwright.corpora.operators.quality.rules import QualityOptions

spec = importlib.util.spec_from_file_location("texts", Path(__file__).parent / "texts.py")
assert spec and spec.loader
texts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(texts)

STEP = Quality(QualityOptions())


def docs(*contents: str, language: str = "") -> list[Doc]:
    return [Doc(str(number), "s", text, language) for number, text in enumerate(contents)]


def test_good_stays_bad_goes_code_is_marked() -> None:
    notes = Notes()
    given = docs(texts.ENGLISH, "Home\n" * 30, texts.PYTHON, texts.CHINESE, "短", texts.POEM)
    kept = STEP(given, notes)
    assert [doc.id for doc in kept] == ["0", "2", "3", "5"]
    assert kept[0] is given[0]
    assert kept[1].marks == ("code",)
    assert notes.marked["code"].first == "2"
    assert {reason: found.first for reason, found in notes.dropped.items()} == {
        "short lines": "1",
        "too short": "4",
    }
    assert notes.dropped["too short"].samples[0][1].detail == "1, at least 15"


def test_the_language_is_that_of_the_document_or_found() -> None:
    keywords = "Shoes online cheap store. Discount sale best price for shoes today. " * 4
    loose = Quality(QualityOptions(max_repeats=1, max_top=1, min_stop_words=0.3))
    assert not loose(docs(keywords), Notes())
    assert loose(docs(keywords, language="sv"), Notes())


def test_notices_at_the_edges_are_left_out() -> None:
    notes = Notes()
    page = f"Skip to main content\n\n{texts.ENGLISH}\n\nCopyright © 2020 Example. All rights reserved."
    assert STEP(docs(page), notes)[0].text == texts.ENGLISH
    assert notes.changed["boilerplate lines"].count == 2
    assert Quality(QualityOptions(boilerplate_lines=False))(docs(page), Notes())[0].text == page


def test_options_by_name() -> None:
    step = make_step("quality", {"min_words": "200"})
    notes = Notes()
    assert not step(docs(texts.ENGLISH), notes)
    assert list(notes.dropped) == ["too short"]


def test_nothing_in_nothing_out() -> None:
    assert STEP([], Notes()) == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=60) | st.text("The of. 的，。\n|#`é{}", max_size=80), max_size=5))
def test_never_raises_keeps_order_and_notes_every_drop(contents: list[str]) -> None:
    notes = Notes()
    kept = STEP(docs(*contents), notes)
    ids = [int(doc.id) for doc in kept]
    assert ids == sorted(ids)
    assert len(kept) + sum(found.documents for found in notes.dropped.values()) == len(contents)
    assert all(len(doc.text) <= len(contents[int(doc.id)]) for doc in kept)
    assert [doc.id for doc in STEP(docs(*contents)[:1], Notes())] == ["0"] * (0 in ids), (
        "batches do not matter"
    )
