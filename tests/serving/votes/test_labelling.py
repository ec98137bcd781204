"""The labelling queue's file: every layout, blind order, and what nobody can rank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.documents import Tally
from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.serving.votes.labelling import item, read_items
from helpers.judged import write_rows
from helpers.voted import asked

ASK = (Message("user", "What is 1?"),)


@pytest.mark.parametrize(
    ("row", "replies"),
    [
        ({"prompt": "What is 1?"}, []),
        ({"messages": [{"role": "user", "content": "What is 1?"}]}, []),
        ({"prompt": "What is 1?", "replies": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"prompt": "What is 1?", "responses": ["a", "b", "a "], "ranks": [1, 1, 1]}, ["a", "b"]),
        ({"prompt": "What is 1?", "chosen": "a", "rejected": "b"}, ["a", "b"]),
        ({"best": None, "id": "x", "prompt": asked(), "replies": {"A": "a", "B": "b"}}, ["a", "b"]),
    ],
)
def test_every_layout(row: dict[str, Any], replies: list[str], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "f.jsonl", [{"how": "…", "说明": "…"}, row])
    skipped = Tally()
    [found] = read_items(file, skipped)
    assert found.messages == asked() and sorted(found.replies) == replies and found.source == f"{file}:2"
    assert len(found.models) == len(found.samplings) == len(replies) and dict(skipped) == {"explanation": 1}


def test_the_order_shown_depends_on_the_texts_alone() -> None:
    pairs = [item(ASK, [f"good {n}", f"bad {n}"], ["m", "k"]) for n in range(40)]
    first = sum(one.replies[0].startswith("good") for one in pairs)
    assert 10 < first < 30
    turned = [item(ASK, [f"bad {n}", f"good {n}"], ["k", "m"]) for n in range(40)]
    assert [one.replies for one in pairs] == [one.replies for one in turned]
    assert all(one.models == ["m" if r.startswith("good") else "k" for r in one.replies] for one in pairs)
    assert all(one.key == other.key for one, other in zip(pairs, turned, strict=True))


def test_what_nobody_can_rank_is_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "replies": ["same", " same"]},
        {"prompt": "p", "replies": [str(n) for n in range(27)]},
        {"prompt": " "},
        {"prompt": "p"},
    ]
    skipped = Tally()
    assert len(list(read_items(write_rows(tmp_path / "f.jsonl", rows), skipped))) == 1
    assert skipped["no two different replies"] == 1 and skipped["more than 26 replies"] == 1
    with pytest.raises(UserError, match=r"nothing to label in .*no two different replies"):
        list(read_items(write_rows(tmp_path / "g.jsonl", rows[:1])))


def test_an_unknown_layout_is_refused_with_its_line(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "f.jsonl", [{"prompt": "p"}, {"words": "?"}])
    with pytest.raises(UserError, match=r"f\.jsonl:2: no format of prompts has the keys 'words'") as refused:
        list(read_items(file))
    assert str(refused.value).count("f.jsonl:2") == 1
    assert json.loads(file.read_text().splitlines()[0]) == {"prompt": "p"}
