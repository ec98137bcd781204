"""Documents followed through steps of known effect."""

from __future__ import annotations

import pytest

from chatwright.corpora.documents import Doc
from chatwright.corpora.operators.exact import Exact
from chatwright.corpora.reporting.explain import explain
from chatwright.errors import UserError

LONG = (
    "It was the best of times, it was the worst of times, it was the age of wisdom for all of us in the town."
)


def docs(*texts: str) -> list[Doc]:
    return [Doc(f"f:{number}", "f", text) for number, text in enumerate(texts)]


def test_every_document_says_what_became_of_it_and_why() -> None:
    found = explain(docs(f"{LONG}\u200b Done.", "too few", LONG), ["clean", "quality"], {})
    changed, dropped, kept = (trace.steps for trace in found)
    assert [step.outcome for step in changed] == ["changed", "kept"]
    assert [event.reason for event in changed[0].events] == ["invisible characters"]
    assert ("out", "\u200b") in changed[0].pieces
    assert [step.outcome for step in dropped] == ["kept", "dropped"]
    assert (dropped[1].events[0].kind, dropped[1].events[0].detail) == ("drop", "2, at least 10")
    assert [step.outcome for step in kept] == ["kept", "kept"] and kept[0].pieces == []
    assert found[1].kept is None and found[0].kept is not None and found[0].read.documents == 1
    assert found[0].read.characters - found[0].kept.characters == 1


def test_options_move_the_threshold() -> None:
    assert explain(docs("too few of them"), ["quality"], {"quality": {"min_words": 200}})[0].kept is None
    with pytest.raises(UserError, match="min_word"):
        explain(docs("x"), ["quality"], {"quality": {"min_wrds": 1}})


def test_the_second_of_equal_documents_goes_and_takes_no_further_step() -> None:
    first, second = explain(docs(LONG, LONG), ["exact", "language"], {})
    assert first.kept and [step.step for step in first.steps] == ["exact", "language"]
    assert first.steps[1].language == "en"
    assert second.kept is None and [step.step for step in second.steps] == ["exact"]
    assert second.steps[0].events[0].reason == "exact duplicate"


def test_more_than_ten_documents_each_have_their_reason() -> None:
    found = explain(docs(*["short"] * 30), ["quality"], {})
    assert all(trace.steps[0].events[0].reason == "too short" for trace in found)


def test_a_document_that_becomes_empty_is_dropped() -> None:
    found = explain(docs("\u200b\u200b", LONG), ["clean", "exact"], {})
    assert found[0].kept is None and found[0].steps[-1].step == "clean" and found[1].kept
    assert found[0].steps[-1].events[-1].reason == "empty"


def test_no_step_is_asked_about_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exact, "apply", None)
    assert explain(docs("\u200b"), ["clean", "exact"], {})[0].kept is None
