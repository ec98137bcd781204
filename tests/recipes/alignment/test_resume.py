"""`reward` and `ppo`, killed at any moment or on two processes: the end is the end of a run that nobody touched."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatwright.distributed.checkpoint import load_state, states
from chatwright.runs import Run
from helpers.command import chatwright, killed_when, torchrun
from helpers.journey import Journey, words
from helpers.judged import make_judge, planned, write_prompts, write_rows
from helpers.texts import sentences

pytestmark = pytest.mark.slow
STEPS = 16
SHORT: dict[str, Any] = {"precision": "float32", "save_every": 1, "eval_every": 8}
REWARD = {**SHORT, "steps": STEPS, "batch": 6, "learning_rate": 1e-3, "objective.heads": 2}
# a rollout is learnt from in 4 steps, so that most kills fall into the middle of one
PPO = {
    **SHORT, "steps": STEPS, "samples": 14, "minibatches": 2, "passes": 2, "max_new_tokens": 6, "learning_rate": 1e-3,
    "kl.target": 0.05, "kl.horizon": 100, "ptx_rows": 2, "objective.ptx": 0.5, "kl_stop": 0.02,
}  # fmt: skip
Command = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def commands(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Command]:
    place = tmp_path_factory.mktemp("alignment")
    rows = [
        {"prompt": f"What is {n}?", "chosen": text, "rejected": text[:7]}
        for n, text in enumerate(sentences(44))
    ]
    preferences, prompts = write_rows(place / "pairs.jsonl", rows), write_prompts(place / "prompts.jsonl")
    judge = make_judge(journey, place / "judge")
    return {
        "reward": lambda out: ["reward", *map(str, (journey.chat, preferences)), "-o", str(out), *words(REWARD)],
        "ppo": lambda out: [
            "ppo", *map(str, (journey.chat, judge, prompts)), "-o", str(out), *words(PPO, ptx=journey.chats)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module", params=["reward", "ppo"])
def whole(
    request: pytest.FixtureRequest, commands: dict[str, Command], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Command, Run]:
    """The command, and a run of it that nobody touched."""
    command, out = commands[request.param], tmp_path_factory.mktemp("whole") / request.param
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    return command, Run(out)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run measured, without what its clock said."""
    kept = []
    for row in rows:
        inner = {k: v for k, v in row.get("rollout", {}).items() if not k.startswith("seconds")}
        shown = {k: v for k, v in row.items() if k not in ("seconds", "rollout")}
        kept.append({**shown, **({"rollout": inner} if inner else {})})
    return kept


def assert_equal_end(found: Run, wanted: Run) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (found.directory / name).read_bytes() == (wanted.directory / name).read_bytes(), name
    assert timeless(found.metrics()) == timeless(wanted.metrics())
    (mine, rest), (right, other) = (
        load_state(states(run.directory / "state")[-1][1]) for run in (found, wanted)
    )
    assert mine.keys() == right.keys()
    assert all(torch.equal(mine[name], value) for name, value in right.items())
    assert (rest["step"], rest["source"]) == (other["step"], other["source"])
    assert not [path for path in found.directory.rglob("*") if "tmp" in path.name]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_random_steps_it_ends_bit_for_bit(
    whole: tuple[Command, Run], tmp_path: Path, seed: int
) -> None:
    command, wanted = whole
    out = planned(tmp_path / "run", wanted)
    moments = sorted(random.Random(seed).sample(range(STEPS), 3))
    for step in moments:

        def reached(step: int = step) -> bool:
            path = out / "metrics.jsonl"
            return path.exists() and f'"step": {step}, "loss"' in path.read_text() if step else path.exists()

        code, said = killed_when(reached, *command(out))
        assert code == -signal.SIGKILL, said
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stderr
    assert_equal_end(Run(out), wanted)


def test_two_ranks_are_as_one(whole: tuple[Command, Run], tmp_path: Path) -> None:
    """Sums come in another order, so the numbers are close and not the same; the replies are the same."""
    command, alone = whole
    out = tmp_path / "ranks"
    done = torchrun(2, *command(out), "--json")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 1
    run = Run(out)
    assert run.plan["processes"] == 2
    steps, right = ([row for row in r.metrics() if "loss" in row] for r in (run, alone))
    assert [row["tokens"] for row in steps] == [row["tokens"] for row in right]
    for mine, its in zip(steps, right, strict=True):
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-3, abs=1e-4)
        assert mine["metrics"] == pytest.approx(its["metrics"], rel=1e-3, abs=1e-3)
    told, wanted = ([row["samples"] for row in r.metrics() if "samples" in row] for r in (run, alone))
    for some, others in zip(told, wanted, strict=True):
        assert [sample["reply"] for sample in some] == [sample["reply"] for sample in others]
    weights = load_file(alone.directory / "model.safetensors")
    for name, value in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-4)
