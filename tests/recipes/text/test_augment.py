"""`augment`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.errors import UserError

ROWS = [
    {"text": f"The big dog number {n} began to talk slowly about the whole story.", "label": n}
    for n in range(9)
]


def written(place: Path, rows: list[dict[str, Any]]) -> Path:
    place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return place


def read(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]


def test_rows_keep_their_labels_and_copies_differ(tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", ROWS)
    told = cw.augment(source, tmp_path / "more.jsonl", copies=2, share=0.2)
    rows = read(tmp_path / "more.jsonl")
    assert told == {"file": str(tmp_path / "more.jsonl"), "rows": 9, "copies": 18, "equal": 0}
    assert [row["label"] for row in rows] == [n for n in range(9) for _ in range(3)]
    assert [row for row in rows if row in ROWS] == ROWS
    assert cw.augment(source, tmp_path / "again.jsonl", copies=2, share=0.2)["copies"] == 18
    assert read(tmp_path / "again.jsonl") == rows
    cw.augment(source, tmp_path / "other.jsonl", copies=2, share=0.2, seed=1)
    assert read(tmp_path / "other.jsonl") != rows


def test_of_a_chat_only_the_user_is_changed(tmp_path: Path) -> None:
    chat = {
        "messages": [
            {"role": "user", "content": "请问这个重要的问题怎么办？"},
            {"role": "assistant", "content": "很简单。"},
        ]
    }
    source = written(tmp_path / "chats.jsonl", [chat])
    cw.augment(source, tmp_path / "more.jsonl", ways=["synonyms"], originals=False)
    [row] = read(tmp_path / "more.jsonl")
    assert row["messages"][1] == chat["messages"][1]
    assert row["messages"][0]["content"] != chat["messages"][0]["content"]


def test_plain_lines_become_rows(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("A big dog.\n\nxyzzy\n")
    told = cw.augment(tmp_path / "lines.txt", tmp_path / "more.jsonl", ways="synonyms")
    assert [row["text"] for row in read(tmp_path / "more.jsonl")] == ["A big dog.", "A large dog.", "xyzzy"]
    assert (told["copies"], told["equal"]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ways": "sinonyms"}, "give some of synonyms, swap, delete"),
        ({"ways": "back_translation"}, "give both"),
        ({"share": 0.9}, "at most 0.5"),
        ({"field": "body"}, "rows.jsonl:1: there is no text in 'body'; the row has 'text', 'label'"),
        ({"synonyms": "nowhere.txt"}, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    source = written(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(UserError, match=said):
        cw.augment(source, tmp_path / "more.jsonl", **options)
    assert not (tmp_path / "more.jsonl").exists()


def test_the_source_is_not_written_over(tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text('{"text": "one two three four five"}\n')
    before = place.read_bytes()
    with pytest.raises(UserError, match="is the source itself"):
        cw.augment(place, tmp_path / "." / "rows.jsonl", ways=("swap",))
    assert place.read_bytes() == before
