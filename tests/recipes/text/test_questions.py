"""The files of `questions`: what training sees, and what it must not see."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.corpora.reading.python_docs import entries, exists
from chatwright.corpora.store import stored
from chatwright.data import questions as maker
from chatwright.data.unknown_names import PromptRow
from chatwright.recipes.text.corpus import TEXT
from chatwright.runs import Run

SMALL = {"rounds": 3, "plain": 1, "prompts": 400, "validation_rows": 20, "test_rows": 40}


def read(run: Run, name: str) -> list[Any]:
    return [json.loads(line) for line in (run.directory / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cw.questions("python:stdlib", tmp_path_factory.mktemp("q") / "out", unknown=6, **SMALL)


def test_without_unknown_every_name_is_asked_and_nothing_more(tmp_path: Path) -> None:
    done = cw.questions("python:json", tmp_path / "out", rounds=4, plain=1, seed=3)
    asked = maker.questions(entries("json"))
    rounds = [
        maker.plain_round(asked, 3, 0),
        *(maker.training_round(asked, 3, number) for number in (1, 2, 3)),
    ]
    assert read(done, "train.jsonl") == [chat for chats in rounds for chat in chats]
    assert read(done, "held_out.jsonl") == [{**r.chat, "language": r.language} for r in maker.held_out(asked)]
    files = {path.name for path in done.directory.iterdir()}
    assert {name for name in files if name.endswith("jsonl")} == {
        "train.jsonl",
        "held_out.jsonl",
        "validation.jsonl",
    }
    assert set(done.result) == {"questions", "chats", "held_out"}


def test_kept_out_names_are_in_no_file_but_those_to_measure(run: Run) -> None:
    asked = maker.questions(entries("stdlib"))
    modules = set(run.result["kept_out"])
    kept = [question.name for question in asked if question.name.split(".")[0] in modules]
    assert 0.055 <= len(kept) / len(asked) <= 0.06
    assert run.result["questions"] == len(asked) - len(kept)
    for file in ("train.jsonl", "held_out.jsonl", "validation.jsonl", "prompts.jsonl"):
        text = (run.directory / file).read_text(encoding="utf-8")
        assert not [name for name in kept if "." in name and name in text], file
    for file in ("unknown_validation.jsonl", "unknown_test.jsonl"):
        found = {row["name"] for row in read(run, file) if row["kind"] == "kept-out"}
        assert found
        assert found <= set(kept)


def test_demonstrations_come_in_the_worded_rounds_alone(run: Run) -> None:
    chats, count = read(run, "train.jsonl"), run.result["questions"]
    assert len(chats) == run.result["chats"] == 3 * count + 2 * 6
    answers = [chat["messages"][1]["content"] for chat in chats]
    places = [place for place, answer in enumerate(answers) if answer.startswith("I don't know ")]
    assert len(places) == len({answers[place] for place in places}) == 12
    assert sum(place < count for place in places) == 0
    assert sum(count <= place < 2 * count + 6 for place in places) == 6


def test_the_rows_of_unknown_names(run: Run) -> None:
    prompts, validation, test = (
        read(run, name) for name in ("prompts.jsonl", "unknown_validation.jsonl", "unknown_test.jsonl")
    )
    assert Counter(row["kind"] for row in prompts) == {"real": 200, "made-up": 200}
    for rows, count in ((validation, 20), (test, 40)):
        kinds = Counter((row["kind"], row["language"]) for row in rows)
        assert kinds == {
            (kind, language): count
            for kind in ("real", "made-up", "kept-out")
            for language in maker.LANGUAGES
        }
    answers = {question.name: question.answer for question in maker.questions(entries("stdlib"))}
    for row in [*prompts, *validation, *test]:
        assert set(row) == set(PromptRow.__annotations__)
        assert row["name"] in row["prompt"]
        real = row["kind"] == "real"
        assert row["answer"] == (answers[row["name"]] if real else f"I don't know {row['name']}.")
        assert exists(row["name"]) == (row["name"] in answers) == (row["kind"] != "made-up")
    demonstrated = {chat["messages"][1]["content"] for chat in read(run, "train.jsonl")}
    made = [[row for row in rows if row["kind"] == "made-up"] for rows in (prompts, validation, test)]
    assert not demonstrated & {row["answer"] for rows in made for row in rows}
    assert len({row["name"] for rows in made for row in rows}) == 200 + 20 + 40
    assert (run.result["prompts"], run.result["unknown_validation"], run.result["unknown_test"]) == (
        400,
        120,
        240,
    )


def test_the_corpus_leaves_out_what_is_kept_out(run: Run, tmp_path: Path) -> None:
    modules = run.result["kept_out"]
    text = cw.corpus("python:stdlib", tmp_path / "corpus", without=modules)
    found = {
        doc.id.rpartition("/")[2]
        for side in ("train", "validation")
        for doc in stored(text.directory / TEXT, side)
    }
    assert "itertools.chain" in found
    assert not [name for name in found if name.split(".")[0] in modules]


def test_no_name_is_made_up_that_python_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.recipes.text.asking.exists", lambda name: True)
    with pytest.raises(cw.UserError, match="recombine to 0 others"):
        cw.questions("python:json", tmp_path / "out", unknown=2, kept_out=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknown": -1}, "unknown=-1 must be 0 or more"),
        ({"unknown": 2, "rounds": 3, "plain": 3}, "unknown=2 needs rounds that are not plain"),
        ({"kept_out": 0.7}, "kept_out=0.7 must be from 0 to 0.5"),
        ({"prompts": 1}, "prompts=1 must be at least 2"),
        ({"test_rows": 0}, "test_rows=0 must be at least 1"),
        ({"unknown": 2, "kept_out": 0.001}, "is less than a module; give more, or kept_out=0"),
        ({"unknown": 2, "kept_out": 0, "prompts": 10_000_000}, "ask for fewer prompts"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(cw.UserError, match=message):
        cw.questions("python:json", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
