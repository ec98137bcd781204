"""GRPO on generated arithmetic, shortened: numbers up to 19, and a tenth of the benchmark's time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "arithmetic.py"


@pytest.fixture(scope="module")
def arithmetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arithmetic_benchmark", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_problems_are_what_they_say(arithmetic: ModuleType) -> None:
    rows = arithmetic.problems(19)
    assert len(rows) == 400 + 210 == len({row["prompt"] for row in rows})
    for row in rows:
        assert eval(row["prompt"].removesuffix("=?")) == row["answer"] >= 0


@pytest.mark.slow
def test_the_pass_rate_rises_on_problems_never_shown(arithmetic: ModuleType, tmp_path: Path) -> None:
    task = arithmetic.Task(largest=19, held_out=150, shown=160, pretrain_steps=60, sft_epochs=4)
    start = arithmetic.make_start(tmp_path, 0, task)
    before = arithmetic.pass_rates(start.chat, start.held_out)
    run = arithmetic.learn(start, tmp_path / "grpo", 0, iterations=100, samples=128, eval_every=50)
    after = arithmetic.pass_rates(run, start.held_out)
    assert before["sampled"] < 0.3
    assert after["sampled"] > before["sampled"] + 0.2
    assert after["greedy"] > before["greedy"]
    rewards = [row["rollout"]["reward"] for row in run.metrics() if "rollout" in row]
    assert sum(rewards[-10:]) > sum(rewards[:10]) + 2
