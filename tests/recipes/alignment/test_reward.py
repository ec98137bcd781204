"""`reward` on a tiny model: it learns an easy set, publishes its scale, and reads every common format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.data.preferences import read_comparisons
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.models.interop.files import load_reward_model
from chatwright.objectives.contract import Batch
from chatwright.rewards.model import RewardModel
from chatwright.runs import Run
from chatwright.training import plan as planning
from chatwright.training.sources import StoredSource
from helpers.journey import Journey
from helpers.judged import write_rows
from helpers.texts import chat_row, sentences, write_chats

OPTIONS: dict[str, Any] = {
    "steps": 20,
    "batch": 16,
    "learning_rate": 5e-3,
    "precision": "float32",
    "save_every": 10,
    "eval_every": 20,
}


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Sentences are better than the same words backwards."""
    return [
        {"prompt": f"What is {n}?", "chosen": text, "rejected": " ".join(text.split()[::-1])}
        for n, text in enumerate(sentences(count, seed))
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("preferences")
    return write_rows(place / "train.jsonl", pairs(60)), write_rows(place / "held.jsonl", pairs(40, seed=5))


@pytest.fixture(scope="module")
def judge(journey: Journey, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    train, held = files
    return cw.reward(
        journey.chat, train, tmp_path_factory.mktemp("judge") / "run", validation=str(held), **OPTIONS
    )


def test_it_learns_which_reply_is_better(judge: Run) -> None:
    before, after = judge.result["before"], judge.result["after"]
    assert after["accuracy"] > 0.8 > before["accuracy"]
    assert after["accuracy_interval"][0] > 0.5, "above chance, with an interval"
    assert after["loss"] < before["loss"]
    assert 0 <= after["calibration_error"] < 0.5
    rows = [row for row in judge.metrics() if "loss" in row]
    assert rows[-1]["loss"]["pairwise"] < rows[0]["loss"]["pairwise"]
    assert rows[-1]["metrics"]["accuracy"] > 0.8


def test_nothing_is_compiled_and_minutes_take_one_step_to_clock(
    journey: Journey, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where compilation would be worth its time, were rows all of one length."""
    served: list[int] = []
    plain = StoredSource.batches

    def batches(source: StoredSource[Any], step: int) -> list[Batch]:
        served.append(step)
        return plain(source, step)

    monkeypatch.setattr(planning, "_worth_compiling", lambda *_: True)
    monkeypatch.setattr(StoredSource, "batches", batches)
    run = cw.reward(journey.chat, files[0], tmp_path / "steps", **{**OPTIONS, "steps": 2})
    assert run.plan["compile"] is False
    assert served == [0, 1], "where steps are given there is nothing to clock"
    served.clear()
    run = cw.reward(journey.chat, files[0], tmp_path / "timed", **{**OPTIONS, "steps": None, "minutes": 0.04})
    assert run.plan["compile"] is False
    assert served == [0, *range(run.result["steps"])]


def test_its_scores_have_mean_0_and_deviation_1_on_what_was_compared(
    judge: Run, files: tuple[Path, Path]
) -> None:
    model = RewardModel.load(judge.directory)
    compared = list(read_comparisons(files[0]))
    prompts = [Prompt(c.prompt) for c in compared for _ in c.replies]
    scores = model.scores(prompts, [reply for c in compared for reply in c.replies])
    assert scores.mean() == pytest.approx(0.0, abs=1e-4)
    assert scores.std() == pytest.approx(1.0, abs=1e-4)
    config = json.loads((judge.directory / "config.json").read_text())
    assert (config["reward_mean"], config["reward_deviation"]) == (model.mean, model.deviation)
    assert model.deviation > 1e-3


def test_its_scale_may_come_from_other_replies(
    journey: Journey, files: tuple[Path, Path], tmp_path: Path
) -> None:
    chats = write_chats(tmp_path / "chats.jsonl", count=30, seed=8)
    run = cw.reward(journey.chat, files[0], tmp_path / "run", reference=str(chats), **{**OPTIONS, "steps": 2})
    rows = [json.loads(line)["messages"] for line in chats.read_text().splitlines()]
    prompts = [Prompt((Message("user", row[0]["content"]),)) for row in rows]
    scores = RewardModel.load(run.directory).scores(prompts, [row[1]["content"] for row in rows])
    assert (scores.mean(), scores.std()) == (pytest.approx(0.0, abs=1e-4), pytest.approx(1.0, abs=1e-4))


def test_several_heads_disagree(journey: Journey, files: tuple[Path, Path], tmp_path: Path) -> None:
    run = cw.reward(journey.chat, files[0], tmp_path / "run", **OPTIONS, **{"objective.heads": 3})
    model, _, _ = load_reward_model(run.directory)
    assert model.numbers == 3
    assert run.result["after"]["disagreement"] > 0
    scores = RewardModel.load(run.directory).scores([Prompt((Message("user", "What is 3?"),))], ["The cat."])
    assert len(set(scores[0].tolist())) == 3


def test_transformers_reads_it_as_a_classifier(judge: Run) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    peer = transformers.AutoModelForSequenceClassification.from_pretrained(
        judge, attn_implementation="eager"
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(judge)
    own = RewardModel.load(judge.directory)
    rows = [chat_row("What is 3?", "The cat sees the dog."), chat_row("Hi", "dog")]
    texts = [
        tokenizer.apply_chat_template(row["messages"], tokenize=False).removesuffix("\n") for row in rows
    ]
    # a reply is scored at the end of its turn, before what the template writes after it
    batch = tokenizer(
        texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False
    )
    with torch.no_grad():
        raw = peer(**batch).logits[:, 0].double().numpy()
    prompts = [Prompt((Message("user", row["messages"][0]["content"]),)) for row in rows]
    wanted = own.scores(prompts, [row["messages"][1]["content"] for row in rows])[:, 0]
    assert (raw - own.mean) / own.deviation == pytest.approx(wanted, abs=1e-3)


FORMATS = {
    "llama-factory-alpaca": {"instruction": "Greet", "input": "", "chosen": "Hello there", "rejected": "Go"},
    "llama-factory-sharegpt": {
        "conversations": [{"from": "human", "value": "Hi"}],
        "chosen": {"from": "gpt", "value": "Hello there"},
        "rejected": {"from": "gpt", "value": "Go"},
    },
    "ranking": {"prompt": "Hi", "replies": ["Hello there", "Hm", "Go"], "ranks": [1, 2, 3]},
    "margin": {"prompt": "Hi", "chosen": "Hello there", "rejected": "Go", "margin": 1.5},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_common_row_is_accepted(journey: Journey, tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [FORMATS[name]] * 6)
    run = cw.reward(
        journey.chat, path, tmp_path / "run", **{**OPTIONS, "steps": 3, "batch": 4, "learning_rate": 1e-3}
    )
    losses = [row["loss"]["pairwise"] for row in run.metrics() if "loss" in row]
    assert losses[-1] < losses[0]
    assert run.result["after"] == {}, "too few prompts to hold any out"


def test_a_finished_run_does_nothing_and_other_options_are_refused(
    journey: Journey, files: tuple[Path, Path], judge: Run
) -> None:
    train, held = files
    again = cw.reward(journey.chat, train, judge, validation=str(held), **OPTIONS)
    assert again.info == judge.info
    with pytest.raises(UserError, match=r"batch: 16 → 8.*give a new -o"):
        cw.reward(journey.chat, train, judge, validation=str(held), **{**OPTIONS, "batch": 8})


@pytest.mark.parametrize(
    ("preferences", "options", "said"),
    [
        ("nowhere.jsonl", [], "there is no file"),
        ("same.jsonl", [], "identical replies"),
        ("train.jsonl", ["limit=4096"], "limit=4096 is longer than the model's context of 128"),
        ("train.jsonl", ["limit=3"], "fits into 3 tokens"),
        ("train.jsonl", ["epochs=0"], "epochs=0 must be more than 0"),
        ("train.jsonl", ["epochs=1", "steps=3"], "epochs= excludes steps="),
        ("train.jsonl", ["objective.heads=0"], "objective.heads=0 must be at least 1"),
        ("train.jsonl", ["objective.smoothing=0.5"], "objective.smoothing=0.5"),
        ("train.jsonl", ["validation=none.jsonl"], "there is no file none.jsonl"),
        ("train.jsonl", ["batch=0"], "batch=0 must be at least 1"),
        ("train.jsonl", ["compile=yes"], "compile=yes would compile again for every length"),
    ],
)
def test_a_slip_is_answered_in_one_line_and_leaves_nothing(
    journey: Journey,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    preferences: str,
    options: list[str],
    said: str,
) -> None:
    write_rows(tmp_path / "same.jsonl", [{"prompt": "Hi", "chosen": "yes", "rejected": "yes "}] * 3)
    path = files[0] if preferences == "train.jsonl" else tmp_path / preferences
    command = ["reward", journey.chat, path, "-o", tmp_path / "out", *options]
    assert main(list(map(str, command))) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_model_that_was_not_taught_to_chat_is_refused(
    journey: Journey, files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is a run of 'pretrain'; this needs one of"):
        cw.reward(journey.base, files[0], tmp_path / "out", steps=1)
