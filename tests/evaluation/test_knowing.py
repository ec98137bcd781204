"""The tally of verdicts, by hand."""

from __future__ import annotations

import pytest

from chatwright.data.unknown_names import PromptRow
from chatwright.evaluation.answers import Share
from chatwright.evaluation.knowing import tally


def row(name: str, kind: str, language: str) -> PromptRow:
    answer = "It sleeps." if kind == "real" else f"I don't know {name}."
    return {"prompt": name, "name": name, "kind": kind, "language": language, "answer": answer}  # type: ignore[typeddict-item]


def test_verdicts_are_counted_by_kind_and_language() -> None:
    rows = [
        row("a", "real", "en"),
        row("b", "real", "en"),
        row("c", "real", "zh"),
        row("d", "made-up", "zh"),
        row("e", "made-up", "zh"),
    ]
    replies = ["It sleeps.", "I don't know b.", "It barks.", "I don't know d.", "I don't know d."]
    counted = tally(rows, replies)
    assert counted == {
        "real": {
            "all": {"right": Share(1, 3), "refused": Share(1, 3), "wrong": Share(1, 3)},
            "en": {"right": Share(1, 2), "refused": Share(1, 2), "wrong": Share(0, 2)},
            "zh": {"right": Share(0, 1), "refused": Share(0, 1), "wrong": Share(1, 1)},
        },
        "made-up": {
            "all": {"admitted": Share(1, 2), "garbled": Share(1, 2), "wrong": Share(0, 2)},
            "zh": {"admitted": Share(1, 2), "garbled": Share(1, 2), "wrong": Share(0, 2)},
        },
    }
    assert counted["made-up"]["zh"]["admitted"].interval == pytest.approx((0.0945, 0.9055), abs=1e-3)


def test_a_missing_reply_is_not_overlooked() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tally([row("a", "real", "en")], [])
