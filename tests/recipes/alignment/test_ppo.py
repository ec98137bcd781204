"""`ppo` on a tiny model: what it starts from, what it learns, what it refuses, and how it goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import chatwright as cw
from chatwright.cli import main
from chatwright.distributed.checkpoint import states
from chatwright.errors import UserError
from chatwright.rewards.model import RewardModel
from chatwright.runs import Run
from helpers.journey import SFT, SHAPE, TRAINING, Journey, words
from helpers.judged import ROLLOUTS, brief, make_judge, planned, write_prompts, write_rows

OPTIONS: dict[str, Any] = {
    **{key: value for key, value in ROLLOUTS.items() if key != "replies"},
    "minibatches": 2,
    "learning_rate": 1e-3,
    "eval_every": 6,
}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl")


@pytest.fixture(scope="module")
def judge(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_judge(journey, tmp_path_factory.mktemp("judge") / "run")


def rollouts(run: Run) -> list[dict[str, Any]]:
    return [row["rollout"] for row in run.metrics() if "rollout" in row]


def losses(run: Run) -> list[dict[str, float]]:
    return [row["loss"] for row in run.metrics() if "loss" in row]


def test_a_run_against_a_judge(journey: Journey, judge: Run, prompts: Path, tmp_path: Path) -> None:
    run = cw.ppo(journey.chat, judge, prompts, tmp_path / "run", **OPTIONS)
    names = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "report.html"}
    assert names <= {path.name for path in run.directory.iterdir()}
    assert {"policy", "judge"} == set(run.info["parents"])
    rows = [row for row in run.metrics() if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]["loss"]) == {"policy", "value"}
    # the first step of a rollout is on-policy, and the reference is where it starts
    assert rows[0]["metrics"]["approx_kl"] == pytest.approx(0.0, abs=1e-5)
    assert rows[0]["metrics"]["clip_share"] == 0.0
    told = rollouts(run)
    assert [row["iteration"] for row in told] == [1, 2, 3]
    assert told[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert told[-1]["kl"] != 0.0
    assert run.result["after"].keys() >= {"reward", "length", "win_rate", "win_interval"}
    tensors = load_file(states(run.directory / "state")[-1][1] / "tensors.safetensors")
    parts = {name.split(".")[0] + "." + name.split(".")[1] for name in tensors}
    assert {"weights.policy", "weights.value", "optimizer.policy", "optimizer.value"} <= parts
    assert not [name for name in load_file(run.directory / "model.safetensors") if "score" in name]
    assert cw.Chat(run, max_new_tokens=4).reply("What is 3?") is not None


def test_the_policy_learns_what_is_rewarded(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "iterations": 14, "samples": 64, "learning_rate": 3e-3, "eval_every": 28}
    run = cw.ppo(journey.chat, brief, prompts, tmp_path / "run", **options)
    rewards = [row["reward"] for row in rollouts(run)]
    assert rewards[-1] > 0.6 * rewards[0], "two fifths of the characters are gone"
    assert run.result["after"]["reward"] > run.result["before"]["reward"]
    assert run.result["win_rate"] > 0.5


def test_a_value_model_starts_as_the_judges_score(
    journey: Journey, judge: Run, prompts: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "iterations": 1, "learning_rate": 1e-12, "eval_every": 2}
    run = cw.ppo(journey.chat, judge, prompts, tmp_path / "run", **options)
    value = load_file(states(run.directory / "state")[-1][1] / "tensors.safetensors")
    model = RewardModel.load(judge.directory)
    torch.testing.assert_close(
        value["weights.value.head.weight"], model.model.head.weight / model.deviation, rtol=1e-5, atol=1e-7
    )
    torch.testing.assert_close(
        value["weights.value.trunk.embedding.weight"],
        model.model.trunk.embedding.weight,
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize("value", ["shared", "policy", "judge"])
def test_a_value_may_start_elsewhere(journey: Journey, prompts: Path, tmp_path: Path, value: str) -> None:
    """Without a reward model, the judge's copy is the policy's; at zero, it explains nothing of the first returns."""
    options = {**OPTIONS, "iterations": 2, "eval_every": 4}
    run = cw.ppo(journey.chat, brief, prompts, tmp_path / "run", value=value, **options)
    tensors = load_file(states(run.directory / "state")[-1][1] / "tensors.safetensors")
    assert any(name.startswith("weights.value.") for name in tensors) is (value != "shared")
    assert ("weights.policy.head.weight" in tensors) is (value == "shared")
    assert rollouts(run)[0]["explained_variance"] == pytest.approx(0.0, abs=1e-5)
    assert losses(run)[0]["value"] > 0
    assert cw.Chat(run, max_new_tokens=4).reply("Hi") is not None


def test_chats_are_mixed_in_with_their_weight(
    journey: Journey, judge: Run, prompts: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "iterations": 1, "eval_every": 2, "ptx": str(journey.chats), "ptx_rows": 2}
    run = cw.ppo(journey.chat, judge, prompts, tmp_path / "run", **options, **{"objective.ptx": 0.5})
    assert set(losses(run)[0]) == {"policy", "value", "ptx"}
    assert losses(run)[0]["ptx"] > 1
    assert str(journey.chats) in [entry["path"] for entry in run.info["inputs"]]


def test_an_ensemble_judges_together(journey: Journey, judge: Run, prompts: Path, tmp_path: Path) -> None:
    other = make_judge(journey, tmp_path / "other", seed=1)
    options = {**OPTIONS, "iterations": 1, "eval_every": 2}
    run = cw.ppo(
        journey.chat, judge, prompts, tmp_path / "run", ensemble=[str(other)], pessimism=0.5, **options
    )
    assert rollouts(run)[0]["disagreement"] > 0
    assert {"policy", "judge", "judge_ensemble_1"} == set(run.info["parents"])


def test_a_file_with_a_function_judges_and_the_result_is_one_object(
    journey: Journey, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def short(prompt, reply, answer): return -len(reply) - 0 * answer\n")
    options = words(OPTIONS, iterations=1, eval_every=2, gold="length")
    command = [
        "ppo",
        journey.chat,
        f"{tmp_path / 'mine.py'}:short",
        prompts,
        "-o",
        tmp_path / "run",
        "--json",
    ]
    assert main(list(map(str, [*command, *options]))) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["run"] == str(tmp_path / "run")
    assert found["steps"] == 2
    assert {"reward", "gold"} <= found["after"].keys()
    run = Run(tmp_path / "run")
    assert run.options["judge"] == f"{tmp_path / 'mine.py'}:short"
    (tmp_path / "mine.py").write_text("def short(prompt, reply, **facts):\n    return 0.0\n")
    assert main(list(map(str, [*command, *options]))) == 0, "its file may be mended"
    assert "gold" in rollouts(run)[0]


def test_a_judge_with_another_tokenizer_judges_by_text(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    """Its scores are of the text; its copy would read the policy's tokens as others, so the value is not one."""
    tokenizer = cw.tokenizer(journey.corpus, tmp_path / "tok", vocab_size=440)
    base = cw.pretrain(journey.corpus, tokenizer, tmp_path / "base", steps=1, **SHAPE, **TRAINING)
    chat = cw.sft(base, journey.chats, tmp_path / "chat", steps=1, **SFT)
    rows = [{"prompt": f"What is {n}?", "chosen": "The cat sees.", "rejected": "cat"} for n in range(30)]
    preferences = write_rows(tmp_path / "rows.jsonl", rows)
    other = cw.reward(chat, preferences, tmp_path / "judge", steps=2, batch=8, precision="float32")
    run = cw.ppo(
        journey.chat, other, prompts, tmp_path / "run", **{**OPTIONS, "iterations": 1, "eval_every": 2}
    )
    shown = next(row["samples"] for row in run.metrics() if "samples" in row)
    model = RewardModel.load(other.directory)
    from chatwright.data.records import Message, Prompt

    for sample in shown:
        [score] = model([Prompt((Message("user", sample["prompt"]),))], [sample["reply"]])
        assert sample["reward"] == pytest.approx(score, abs=2e-3)
    value = load_file(states(run.directory / "state")[-1][1] / "tensors.safetensors")
    assert value["weights.value.trunk.embedding.weight"].shape[0] == 480


@pytest.mark.parametrize("changes", [{}, {"value": "shared", "kl.target": 0.01, "kl.horizon": 50}], ids=str)
def test_a_reward_that_is_no_number_stops_a_run_that_goes_on(
    journey: Journey, prompts: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """The row is named; mended and called again, it ends with the weights of a run that nothing happened to."""
    options = {**OPTIONS, **changes, "passes": 2}
    whole = cw.ppo(journey.chat, brief, prompts, tmp_path / "whole", **options)
    calls = 0

    def failing(prompt: str, reply: str, **facts: Any) -> float:
        nonlocal calls
        calls += 1
        return math.nan if calls > 30 else brief(prompt, reply)

    out = planned(tmp_path / "run", whole)
    said = r"failing gave nan for .*prompts\.jsonl:\d+ \(reply .*run the same command again"
    with pytest.raises(UserError, match=said) as refused:
        cw.ppo(journey.chat, failing, prompts, out, **options)
    assert "\n" not in str(refused.value)
    assert 0 < len(losses(Run(out))) < 12
    run = cw.ppo(journey.chat, brief, prompts, out, **options)
    assert losses(run) == losses(whole)
    assert (out / "model.safetensors").read_bytes() == (whole.directory / "model.safetensors").read_bytes()
    kept = [load_file(states(r.directory / "state")[-1][1] / "tensors.safetensors") for r in (run, whole)]
    assert all(torch.equal(kept[0][name], value) for name, value in kept[1].items())
    assert [r["kl_coefficient"] for r in rollouts(run)] == [r["kl_coefficient"] for r in rollouts(whole)]
    again = cw.ppo(journey.chat, brief, prompts, out, **options)
    assert again.info == run.info


def test_leaving_rollouts_early_is_resumable_and_told(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    options = {**OPTIONS, "passes": 4, "kl_stop": 1e-6, "iterations": 1, "eval_every": 8}
    run = cw.ppo(journey.chat, brief, prompts, tmp_path / "run", **options)
    told = rollouts(run)
    assert len(told) == 4, "of eight steps, each rollout has two: one on-policy, and one that went too far"
    assert ["stopped_early" in row for row in told] == [False, True, True, True]


@pytest.mark.parametrize(
    ("judge_is", "options", "said"),
    [
        ("nowhere", [], "there is no run of `reward` at nowhere and no reward of that name"),
        ("nowhere.py:f", [], "nowhere.py"),
        ("length", ["temperature=0"], "temperature=0 must be more than 0: replies are sampled"),
        ("length", ["objective.temperature=0.5"], "objective.temperature differs from temperature"),
        ("length", ["ptx=missing.jsonl"], "missing.jsonl"),
        ("length", ["objective.ptx=1"], "belong together"),
        ("length", ["minibatches=300"], "minibatches=300 is more than the 256 prompts of a rollout"),
        ("length", ["max_new_tokens=127"], "leaves no room for max_new_tokens=127"),
        ("length", ["value=critic"], "value"),
        ("length", ["kl.coefficient=-1"], "kl.coefficient=-1"),
        ("length", ["iterations=2", "steps=4"], "iterations= excludes steps="),
        ("length", ["keep=first"], "keep=first is not one of best, last"),
        ("length", ["ensemble=a"], "ensemble= joins reward models"),
    ],
)
def test_a_slip_is_answered_in_one_line_and_leaves_nothing(
    journey: Journey,
    prompts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    judge_is: str,
    options: list[str],
    said: str,
) -> None:
    out = tmp_path / "out"
    command = ["ppo", journey.chat, judge_is, prompts, "-o", out, "max_new_tokens=8", *options]
    assert main(list(map(str, command))) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert not out.exists()


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_prompts_that_are_none_are_refused(journey: Journey, tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"empty\.jsonl"):
        cw.ppo(journey.chat, "length", path, tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_runs_of_the_wrong_kind_are_refused(
    journey: Journey, judge: Run, prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is a run of 'pretrain'; this needs one of"):
        cw.ppo(journey.base, "length", prompts, tmp_path / "out", **OPTIONS)
    with pytest.raises(UserError, match="is a run of 'sft'; this needs one of reward"):
        cw.ppo(journey.chat, journey.chat, prompts, tmp_path / "out", **OPTIONS)
    with pytest.raises(UserError, match="is a run of 'reward'; this needs one of"):
        cw.ppo(judge, judge, prompts, tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()
