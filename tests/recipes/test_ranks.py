"""Whole verbs under torchrun: the same losses and weights on two processes as on one."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

import chatwright as cw
from chatwright.runs import Run
from helpers.command import torchrun
from helpers.journey import PRETRAIN, SFT, Journey, words

pytestmark = pytest.mark.slow


def assert_same_curve(found: Run, wanted: Run) -> None:
    assert found.finished
    assert found.plan["processes"] == 2
    losses = [
        [row["loss"]["next_token"] for row in run.metrics() if "loss" in row] for run in (found, wanted)
    ]
    # metrics are rounded to five decimals
    assert losses[0] == pytest.approx(losses[1], rel=1e-5, abs=2e-5)
    tokens = [[row["tokens"] for row in run.metrics() if "loss" in row] for run in (found, wanted)]
    assert tokens[0] == tokens[1]
    after = [run.result["after"]["bits_per_byte"] for run in (found, wanted)]
    assert after[0] == pytest.approx(after[1], rel=1e-4)
    mine, right = (load_file(run.directory / "model.safetensors") for run in (found, wanted))
    for name, value in right.items():
        assert mine[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def test_pretraining_on_two_ranks(journey: Journey, tmp_path: Path) -> None:
    """448 tokens are seven rows: one rank has four and the other three."""
    options = {**PRETRAIN, "batch_tokens": 448, "steps": 5, "micro_tokens": 64}
    alone = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    done = torchrun(2, "pretrain", journey.corpus, journey.tokenizer, "-o", out, *words(options))
    assert done.returncode == 0, done.stderr
    assert_same_curve(Run(out), alone)


def test_fine_tuning_on_two_ranks(journey: Journey, tmp_path: Path) -> None:
    options = {**SFT, "batch_tokens": 640, "steps": 5}
    alone = cw.sft(journey.base, journey.chats, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    done = torchrun(2, "sft", journey.base, journey.chats, "-o", out, *words(options), "--json")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 1
    assert_same_curve(Run(out), alone)


def test_a_refusal_is_said_once(journey: Journey, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = torchrun(2, "sft", journey.base, journey.chats, "-o", tmp_path, *words(SFT, steps=1))
    assert done.returncode != 0
    assert done.stderr.count("chatwright: ") == 1
    assert "holds other files" in done.stderr
