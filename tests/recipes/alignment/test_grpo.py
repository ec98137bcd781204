"""`grpo` and `rloo` on a tiny model: what they learn, what they leave out, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import chatwright as cw
from chatwright.cli import main
from chatwright.errors import UserError
from chatwright.recipes.alignment.grpo import variant
from chatwright.runs import Run
from chatwright.training.rollouts import experience
from helpers.command import torchrun
from helpers.journey import Journey, words
from helpers.judged import ROLLOUTS, brief, make_judge, planned, write_prompts

Verb = Callable[..., Run]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl")


def rollouts(run: Run) -> list[dict[str, Any]]:
    return [row["rollout"] for row in run.metrics() if "rollout" in row]


def losses(run: Run) -> list[dict[str, float]]:
    return [row["loss"] for row in run.metrics() if "loss" in row]


def weights(run: Run) -> dict[str, Any]:
    return load_file(run.directory / "model.safetensors")


@pytest.mark.parametrize("verb", [cw.grpo, cw.rloo])
def test_the_policy_learns_what_is_rewarded(
    journey: Journey, prompts: Path, tmp_path: Path, verb: Verb
) -> None:
    options = {**ROLLOUTS, "iterations": 12, "samples": 64, "learning_rate": 1e-2, "eval_every": 12}
    run = verb(journey.chat, brief, prompts, tmp_path / "run", **options)
    rewards = [rollout["reward"] for rollout in rollouts(run)]
    assert len(rewards) == 12
    assert rewards[-1] > 0.5 * rewards[0], "half the characters are gone"
    assert run.result["after"]["reward"] > run.result["before"]["reward"]
    assert run.result["win_rate"] > 0.5
    names = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "report.html"}
    assert names <= {path.name for path in run.directory.iterdir()}
    assert cw.Chat(run, max_new_tokens=4).reply("What is 3?") is not None


def test_equal_rewards_leave_every_weight_as_it_was(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    run = cw.grpo(
        journey.chat, lambda prompt, reply, **facts: 1.0, prompts, tmp_path / "run", keep="last", **ROLLOUTS
    )
    assert [rollout["equal_groups"] for rollout in rollouts(run)] == [1.0] * 3
    start = weights(journey.chat)
    assert all((value == start[name]).all() for name, value in weights(run).items())


def test_a_rollout_that_is_learnt_from_once_is_only_sampled(
    journey: Journey, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[str, ...]] = []
    plain = experience.token_values

    def noted(root: Any, replies: Any, outputs: tuple[str, ...], *rest: Any) -> Any:
        passes.append(outputs)
        return plain(root, replies, outputs, *rest)

    monkeypatch.setattr(experience, "token_values", noted)
    options = {**ROLLOUTS, "iterations": 1, "eval_every": 1}
    run = cw.grpo(journey.chat, brief, prompts, tmp_path / "once", **options)
    assert passes == []
    assert set(losses(run)[0]) == {"policy"}
    assert "kl" not in rollouts(run)[0]
    cw.grpo(journey.chat, brief, prompts, tmp_path / "twice", passes=2, **options)
    assert passes == [("logprobs", "entropy")]
    passes.clear()
    run = cw.grpo(journey.chat, brief, prompts, tmp_path / "held", **options, **{"objective.kl": 0.1})
    assert passes == [("logprobs", "entropy"), ("logprobs",)]
    assert losses(run)[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert rollouts(run)[0]["kl"] == pytest.approx(0, abs=1e-4)


def test_divergence_is_taken_from_the_loss_or_from_the_reward(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    judge = make_judge(journey, tmp_path / "judge")
    held = cw.grpo(journey.chat, judge, prompts, tmp_path / "grpo", **ROLLOUTS)
    assert held.plan["objective"]["kl"] == 0.04, "a model can be talked into things"
    assert set(losses(held)[0]) == {"policy", "kl"}
    assert rollouts(held)[0]["kl_coefficient"] == 0
    free = cw.grpo(journey.chat, judge, prompts, tmp_path / "free", **ROLLOUTS, **{"objective.kl": 0})
    assert "kl" not in rollouts(free)[0]
    rloo = cw.rloo(journey.chat, judge, prompts, tmp_path / "rloo", **ROLLOUTS, **{"kl.coefficient": 0.5})
    assert set(losses(rloo)[0]) == {"policy"}
    assert rollouts(rloo)[0]["kl_coefficient"] == 0.5
    assert rollouts(rloo)[-1]["kl"] != 0
    assert rloo.plan["baseline"] == "rloo"
    watched = cw.rloo(
        journey.chat,
        "length",
        prompts,
        tmp_path / "gold",
        gold=str(judge),
        **ROLLOUTS,
        **{"kl.coefficient": 0},
    )
    assert "kl" in rollouts(watched)[0] and "gold" in rollouts(watched)[0]
    assert {"judge", "policy"} <= set(held.info["parents"]) and "gold" in watched.info["parents"]


def test_variants_are_defaults_that_can_be_changed(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    assert variant("grpo", 8, 0.0).objective == {"kl": 0.0, "normalise": "tokens"}
    assert variant("dr_grpo", 8, 0.0).baseline == "dr_grpo"
    assert variant("dr_grpo", 8, 0.0).objective == {"kl": 0.0, "normalise": "constant", "length": 8}
    assert variant("dapo", 8, 0.0).drop_equal and not variant("grpo", 8, 0.0).drop_equal
    assert variant("gspo", 8, 0.0).objective["ratio"] == "reply"
    own = {"objective.clip_high": 0.5, "drop_equal": False, "baseline": "none"}
    run = cw.grpo(journey.chat, brief, prompts, tmp_path / "run", variant="dapo", **ROLLOUTS, **own)
    assert (run.plan["baseline"], run.plan["drop_equal"]) == ("none", False)
    assert run.plan["objective"]["clip"] == 0.2 and run.plan["objective"]["clip_high"] == 0.5


def test_groups_of_equal_rewards_are_left_out(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    """With half of the prompts rewarded alike, DAPO learns from the tokens of the others alone."""

    def judge(prompt: str, reply: str, answer: int) -> float:
        return 0.0 if answer % 2 else -float(len(reply))

    options = {**ROLLOUTS, "iterations": 1, "samples": 32, "eval_every": 1}
    runs = [
        cw.grpo(journey.chat, judge, prompts, tmp_path / name, variant=name, **options)
        for name in ("grpo", "dapo")
    ]
    tokens = [next(row["tokens"] for row in run.metrics() if "loss" in row) for run in runs]
    equal = [rollouts(run)[0]["equal_groups"] for run in runs]
    assert equal[0] == equal[1] > 0
    assert tokens[1] < tokens[0]


def test_a_reward_that_fails_leaves_a_run_that_goes_on(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    options = {**ROLLOUTS, "minibatches": 2, "passes": 2, "objective.kl": 0.1, "eval_every": 6}
    whole = cw.grpo(journey.chat, brief, prompts, tmp_path / "whole", **options)
    calls = 0

    def failing(prompt: str, reply: str, **facts: Any) -> float:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise ValueError("out of order")
        return brief(prompt, reply)

    out = planned(tmp_path / "run", whole)
    with pytest.raises(
        UserError, match=r"failed on .*ValueError: out of order .* run the same command again"
    ):
        cw.grpo(journey.chat, failing, prompts, out, **options)
    assert 0 < len(losses(Run(out))) < 12
    run = cw.grpo(journey.chat, brief, prompts, out, **options)
    assert run.finished
    assert losses(run) == losses(whole)
    assert (out / "model.safetensors").read_bytes() == (whole.directory / "model.safetensors").read_bytes()
    again = cw.grpo(journey.chat, brief, prompts, out, **options)
    assert again.info == run.info


@pytest.mark.parametrize(
    ("judge", "options", "said"),
    [
        ("numbr", [], "no reward of that name; did you mean 'number'?"),
        ("regex", [], "needs the option 'pattern'"),
        ("regex", ["reward.regex.pattern=("], "pattern=( is not a regular expression"),
        ("exact", ["reward.exact.answer_field=answr"], "the field 'answr' is missing (its fields: answer)"),
        ("nowhere.py:f", [], "nowhere.py"),
        ("length", ["replies=1"], "replies=1 leaves nothing to measure a reply against"),
        ("length", ["samples=30"], "samples=30 is not a multiple of replies=8"),
        ("length", ["variant=drgrpo"], "variant=drgrpo is not one of grpo, dr_grpo, dapo, gspo"),
        ("length", ["baseline=mean"], "baseline=mean is not one of auto, grpo, dr_grpo, rloo, none"),
        ("length", ["objective=ppo"], "objective=ppo does not learn from groups"),
        ("length", ["objective.clip=0"], "objective.clip=0.0 must be more than 0"),
        ("length", ["objective.temperature=2"], "objective.temperature differs from temperature"),
        ("length", ["ensemble=a"], "ensemble= joins reward models"),
        ("length", ["max_new_tokens=120"], "leaves no room for max_new_tokens=120"),
        ("length", ["kl.coefficient=1"], "no option 'kl'"),
        ("length", ["gold=golden"], "no run of `reward` at golden"),
    ],
)
def test_a_slip_is_answered_in_one_line_and_leaves_nothing(
    journey: Journey,
    prompts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    judge: str,
    options: list[str],
    said: str,
) -> None:
    out = tmp_path / "out"
    command = ["grpo", journey.chat, judge, prompts, "-o", out, "iterations=1", "max_new_tokens=8", *options]
    assert main(list(map(str, command))) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1 and said in lines[0]
    assert not out.exists()


def test_a_model_that_was_not_taught_to_chat_is_refused(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is a run of 'pretrain'; this needs one of"):
        cw.grpo(journey.base, "length", prompts, tmp_path / "out", iterations=1)


def test_the_command_line_takes_rules_and_mixtures(
    journey: Journey, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("def short(prompt, reply, answer): return -len(reply) - 0 * answer\n")
    judge = f"number,0.5*{tmp_path / 'mine.py'}:short"
    options = words(ROLLOUTS, iterations=1, eval_every=1)
    command = ["grpo", journey.chat, judge, prompts, "-o", tmp_path / "run", "--json", *options]
    assert main(list(map(str, command))) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["run"] == str(tmp_path / "run") and found["steps"] == 1
    assert found["after"]["reward"] < 0
    assert Run(tmp_path / "run").options["judge"] == judge, "another function would be another run"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["grpo", "rloo"])
def test_two_ranks_are_as_one(journey: Journey, prompts: Path, tmp_path: Path, verb: str) -> None:
    options = {**ROLLOUTS, "samples": 20, "minibatches": 2, "learning_rate": 1e-3}
    alone = getattr(cw, verb)(journey.chat, "length", prompts, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    command = [verb, journey.chat, "length", prompts, "-o", out, *words(options), "--json"]
    done = torchrun(2, *command)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 1
    run = Run(out)
    assert run.plan["processes"] == 2
    assert [r["reward"] for r in rollouts(run)] == [r["reward"] for r in rollouts(alone)]
    found, right = losses(run), losses(alone)
    for mine, its in zip(found, right, strict=True):
        assert mine == pytest.approx(its, rel=1e-4, abs=2e-5)
    wanted = weights(alone)
    for name, value in weights(run).items():
        assert value == pytest.approx(wanted[name], rel=1e-3, abs=1e-4), name
