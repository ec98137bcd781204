"""The verb `corpus explain` as users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.errors import UserError
from chatwright.recipes.text.corpus_explain import corpus_explain

LONG = (
    "It was the best of times, it was the worst of times, it was the age of wisdom for all of us in the town."
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    texts = [f"{LONG} Write to joe@example.com.", "too few", LONG, f"{LONG}\n"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts) + "{broken\n")
    return path


def test_it_prints_the_rule_the_value_and_the_bound(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "explain", str(rows), "steps=clean,quality,personal,exact"]) == 0
    shown, said = capsys.readouterr()
    assert "drop: too short (2, at least 10)" in shown
    assert "[-joe@example.com-]{+<email>+}" in shown
    assert "rows.jsonl:2  7 characters → dropped by quality" in shown
    assert "drop: exact duplicate" in shown and "inside this file only" in shown
    assert "skipped 1: broken JSON" in said


def test_json_holds_every_document(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "explain", str(rows), "documents=1", "steps=quality,exact", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["steps"] == ["quality", "exact"] and found["inside_this_file_only"] == ["exact"]
    assert [bool(document["kept"]) for document in found["documents"]] == [True, False, True, False]
    dropped = found["documents"][1]["steps"][0]
    assert dropped["events"] == [
        {"kind": "drop", "reason": "too short", "detail": "2, at least 10", "count": 1}
    ]
    assert found["skipped"]["broken JSON"]["count"] == 1


def test_it_takes_the_options_of_corpus(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"quality.min_words": 2, "steps": ("quality",), "engine": "daft", "mix": {}}
    assert all(document["kept"] for document in corpus_explain(rows, **options)["documents"])
    assert {"seed", "limits", "quality", "documents"} <= {
        name for name, _, _ in cw.config.describe(corpus_explain.options_type)
    }


def test_quality_runs_though_one_file_is_small(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "quality" in corpus_explain(rows)["steps"]


def test_what_holds_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="empty file"):
        corpus_explain(tmp_path / "empty.txt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"no text in .*folder: broken JSON"):
        corpus_explain(tmp_path / "folder")
    with pytest.raises(UserError, match="no such file"):
        corpus_explain(tmp_path / "nowhere.txt")


def test_no_control_character_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.txt").write_text(f"{LONG}\x1b[2J\x07 {LONG}")
    corpus_explain(tmp_path / "x.txt", steps=("clean",))
    assert not {"\x1b", "\x07"} & set(capsys.readouterr().out)
