"""distill: from a teacher's distributions, and from the replies that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.errors import UserError
from chatwright.generation.engine import Generated
from chatwright.generation.text import TextModel
from chatwright.recipes.alignment import taught
from chatwright.runs import Run
from helpers.journey import PRETRAIN, SFT, Journey

OPTIONS: dict[str, Any] = {**SFT, "steps": 8, "eval_every": 4, "save_every": 4, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def small(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student of another shape."""
    place = tmp_path_factory.mktemp("small") / "base"
    shape = {**PRETRAIN, "model.layers": 1, "model.width": 16, "model.feed_forward": 24}
    return cw.pretrain(journey.corpus, journey.tokenizer, place, steps=2, **shape)


def test_a_student_comes_closer_to_its_teacher(small: Run, journey: Journey, tmp_path: Path) -> None:
    more = {"objective.divergence": "js", "objective.labels": 0.1}
    run = cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **more, **OPTIONS)
    before, after = run.result["before"], run.result["after"]
    assert 0 < after["divergence"] < before["divergence"]
    assert after["loss"] < before["loss"]
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert losses[0].keys() == {"distill", "next_token"}
    assert losses[-1]["distill"] < losses[0]["distill"]
    assert run.info["parents"].keys() == {"student", "teacher"}
    assert isinstance(cw.Chat(run, temperature=0.0, max_new_tokens=2).reply("What is 1?"), str)
    again = cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **more, **OPTIONS)
    assert again.info == run.info


def test_its_own_teacher_is_nothing_apart(journey: Journey, tmp_path: Path) -> None:
    run = cw.distill(journey.chat, journey.chat, journey.chats, tmp_path / "run", **{**OPTIONS, "steps": 1})
    assert run.result["before"]["divergence"] == pytest.approx(0, abs=1e-5)
    assert run.metrics()[1]["loss"]["distill"] == pytest.approx(0, abs=1e-5)


def test_another_tokenizer_is_refused_for_logits(small: Run, journey: Journey, tmp_path: Path) -> None:
    tokenizer = cw.tokenizer(journey.corpus, tmp_path / "tok", vocab_size=470)
    other = cw.pretrain(journey.corpus, tokenizer, tmp_path / "other", steps=1, **PRETRAIN)
    with pytest.raises(UserError, match=r"has another tokenizer than .*give learn_from=samples"):
        cw.distill(other, journey.chat, journey.chats, tmp_path / "run", **OPTIONS)
    with pytest.raises(UserError, match="objective=chat compares with no teacher"):
        cw.distill(
            small, journey.chat, journey.chats, tmp_path / "run", objective={"name": "chat"}, **OPTIONS
        )


def test_rows_fit_into_the_teachers_context(journey: Journey, tmp_path: Path) -> None:
    brief = {**PRETRAIN, "model.context": 64}
    teacher = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "brief", steps=1, **brief)
    with pytest.raises(UserError, match="context=128 is longer than the model's 64; lower it"):
        cw.distill(journey.chat, teacher, journey.chats, tmp_path / "run", **OPTIONS)
    run = cw.distill(
        journey.chat, teacher, journey.chats, tmp_path / "run", **{**OPTIONS, "context": None, "steps": 1}
    )
    assert run.plan["context"] == 64


@pytest.fixture
def speaking(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A teacher that answers to every prompt with "seen N times" in turn, every third reply without an end; the numbers
    of the replies that it was asked for, in batches of 8."""
    asked: list[int] = []

    def generate(model: Any, prompts: Any, options: Any, vocabulary: Any, *, numbers: Any) -> list[Generated]:
        asked.extend(numbers)
        end = sorted(vocabulary.end_ids)[0]
        return [
            Generated([65, 66, 65 + number % 20, *([] if number % 3 == 2 else [end])], "stop", None)
            for number in numbers
        ]

    monkeypatch.setattr(taught, "generate", generate)
    monkeypatch.setattr(taught, "_TOGETHER", 8)
    return asked


def test_replies_become_demonstrations(
    small: Run, journey: Journey, tmp_path: Path, speaking: list[int]
) -> None:
    given = {**OPTIONS, "learn_from": "samples", "max_new_tokens": 8, "replies": 2, "temperature": 1.0}
    run = cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **given)
    assert speaking == list(range(80))
    rows = [json.loads(line) for line in (run.directory / "demonstrations.jsonl").read_text().splitlines()]
    assert len(rows) == 80 - 26 == run.result["taught"]["demonstrations"]
    assert run.result["taught"]["unfinished"] == 26
    assert [turn["role"] for turn in rows[0]["messages"]] == ["user", "assistant"]
    asked = [row["messages"][0]["content"] for row in rows]
    assert asked[:4] == ["What is 0?", "What is 0?", "What is 1?", "What is 2?"]
    decoded = TextModel.load(journey.chat).tokenizer.decode
    assert [row["messages"][1]["content"] for row in rows[:2]] == [
        decoded([65, 66, 65]),
        decoded([65, 66, 66]),
    ]
    losses = [row["loss"]["next_token"] for row in run.metrics() if "loss" in row]
    assert losses[-1] < losses[0]


def test_a_teacher_that_was_interrupted_goes_on(
    small: Run, journey: Journey, tmp_path: Path, speaking: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**OPTIONS, "steps": None, "epochs": 1, "learn_from": "samples", "max_new_tokens": 8}
    write = taught.atomic_write

    def breaks(path: Path, content: str) -> None:
        if path.name == "00000016.jsonl":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(taught, "atomic_write", breaks)
        cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **given)
    assert speaking == list(range(24))
    speaking.clear()
    run = cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **given)
    assert speaking == list(range(16, 40))
    assert len((run.directory / "demonstrations.jsonl").read_text().splitlines()) == 40 - 13


def test_a_real_teacher_that_never_ends_is_refused(small: Run, journey: Journey, tmp_path: Path) -> None:
    given = {**OPTIONS, "learn_from": "samples", "max_new_tokens": 2}
    with pytest.raises(
        UserError, match=r"none of the teacher's 40 replies.*40 did not end within max_new_tokens=2"
    ):
        cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **given)
    with pytest.raises(UserError, match=r"0 did not end.*40 prompts were too long"):
        cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **{**given, "max_new_tokens": 128})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replies": 2}, "replies=2 would all be the same at temperature=0"),
        ({"temperature": -1}, "temperature=-1 must be 0 or more"),
        ({"objective.labels": 1}, "objective= is for learn_from=logits"),
        ({"epochs": 1}, "epochs= excludes steps="),
        ({"context": 4096}, "context=4096 is longer than the model's 128"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    small: Run, journey: Journey, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    given = {**OPTIONS, "learn_from": "samples", **options}
    with pytest.raises(UserError, match=said):
        cw.distill(small, journey.chat, journey.chats, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()
