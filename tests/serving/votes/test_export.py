"""Exports: the readers of `reward`, `dpo` and `kto` take every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_comparisons, read_labelled
from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.serving.votes.export import lines
from chatwright.serving.votes.records import Vote
from helpers.voted import HOSTILE, arena, thumb

MANY = arena((2, 0, 1), ("", "", ""), ("worst", "best", "middle"), kind="ranking", text="rank")


def rows(votes: Sequence[Vote], kind: str, skipped: Tally | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(votes, kind, skipped)]


def written(place: Path, votes: Sequence[Vote], kind: str) -> Path:
    file = place / f"{kind}.jsonl"
    file.write_text("".join(lines(votes, kind)), encoding="utf-8", errors="backslashreplace")
    return file


def test_preferences_are_all_pairs(tmp_path: Path) -> None:
    votes = [arena((1, 0)), MANY, thumb(-1, "bad", better="fine"), thumb(1, "kept")]
    found = rows(votes, "preferences")
    assert [(row["chosen"], row["rejected"]) for row in found] == [
        ("bad", "good"),
        ("best", "worst"),
        ("best", "middle"),
        ("middle", "worst"),
        ("fine", "bad"),
    ]
    assert (found[0]["chosen_model"], found[0]["rejected_model"]) == ("y", "x")
    read = list(read_comparisons(written(tmp_path, votes, "preferences")))
    assert [one.replies for one in read] == [(row["chosen"], row["rejected"]) for row in found]
    assert all(one.ranks == (0, 1) for one in read) and read[0].prompt == (Message("user", "What is 1?"),)


def test_rankings_keep_a_prompt_s_replies_together(tmp_path: Path) -> None:
    votes = [MANY, arena((0, 1)), thumb(-1, "bad", better="fine"), arena((0, 0)), arena(())]
    skipped = Tally()
    found = rows(votes, "rankings", skipped)
    assert [row["replies"] for row in found] == [
        ["worst", "best", "middle"],
        ["good", "bad"],
        ["fine", "bad"],
    ]
    assert found[2]["models"] == ["", "chat"]
    read = list(read_comparisons(written(tmp_path, votes, "rankings")))
    assert [one.ranks for one in read] == [(2, 0, 1), (0, 1), (0, 1)]
    assert skipped["no reply is better than another"] == 1 and skipped["vote without rankings"] == 2


def test_labelled_replies_are_what_was_said_of_one_alone(tmp_path: Path) -> None:
    votes = [thumb(1, "yes"), thumb(-1, "no", better="fine"), arena((0, 0), value=-1), arena((0, 1)), MANY]
    read = list(read_labelled(written(tmp_path, votes, "labelled")))
    assert [(one.reply, one.wanted) for one in read] == [
        ("yes", True),
        ("no", False),
        ("fine", True),
        ("good", False),
        ("bad", False),
    ]
    assert read[0].prompt == (Message("user", "What is 1?"),)


def test_everything_is_there_in_votes() -> None:
    [row] = rows([arena((0, 1), name="Ann", reason="why", created=3.0)], "votes")
    assert (
        row["name"] == "Ann"
        and row["reason"] == "why"
        and row["created"] == 3.0
        and row["models"] == ["x", "y"]
    )
    assert "Ann" not in "".join(lines([arena((0, 1), name="Ann")], "preferences"))


@pytest.mark.parametrize("replies", [("same", " same"), ("said", " "), ("", "said")])
def test_what_teaches_nothing_is_counted(replies: tuple[str, str]) -> None:
    skipped = Tally()
    assert not rows([arena((0, 1), replies=replies)], "preferences", skipped)
    assert skipped.total() == 2 and not rows([thumb(1, " ")], "labelled")


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_through_a_file(text: str, tmp_path: Path) -> None:
    file = written(tmp_path, [arena((0, 1), text=text, replies=(text, "other"))], "preferences")
    assert len(file.read_bytes().splitlines()) == 1
    [read] = read_comparisons(file)
    shown = text.replace("\ud800", "\\ud800") if "\ud800" in text else text
    assert read.replies[0] in (text, shown, text.replace("\ud800", "")) and read.replies[1] == "other"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="no kind of export 'preference'; did you mean 'preferences'"):
        rows([], "preference")
