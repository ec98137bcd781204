"""Whole verbs under torchrun: the same losses and weights on two processes as on one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import chatwright as cw
from chatwright.runs import Run
from helpers.command import torchrun
from helpers.journey import PRETRAIN, SFT, Journey, words
from helpers.preferred import write_preferences
from helpers.texts import chat_row

pytestmark = pytest.mark.slow


def assert_same_curve(found: Run, wanted: Run) -> None:
    assert found.finished
    assert found.plan["processes"] == 2
    steps, right = ([row for row in run.metrics() if "loss" in row] for run in (found, wanted))
    assert len(steps) > 1
    for mine, its in zip(steps, right, strict=True):
        assert mine["tokens"] == its["tokens"]
        # metrics are rounded to five decimals
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-5, abs=2e-5)
        assert mine.get("metrics", {}) == pytest.approx(its.get("metrics", {}), rel=1e-4, abs=1e-4)
    after, its_after = (measures(run) for run in (found, wanted))
    assert "loss" in after
    assert after == pytest.approx(its_after, rel=1e-4, abs=1e-4)
    weights, its_weights = (load_file(run.directory / "model.safetensors") for run in (found, wanted))
    for name, value in its_weights.items():
        assert weights[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


def measures(run: Run) -> dict[str, float]:
    """What was measured last, without the samples and intervals."""
    return {name: value for name, value in run.result["after"].items() if isinstance(value, float)}


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


@pytest.mark.parametrize("verb", ["dpo", "kto", "orpo", "simpo"])
def test_preferences_on_two_ranks(journey: Journey, tmp_path: Path, verb: str) -> None:
    """15 prompts are eight on one rank and seven on the other; 24 labelled replies are two groups of eight, and one."""
    preferences = write_preferences(tmp_path / "pairs.jsonl")
    options: dict[str, Any] = {
        "batch": 24 if verb == "kto" else 15,
        "steps": 5,
        "learning_rate": 2e-3,
        "precision": "float32",
        "micro_tokens": 256,
    }
    alone = getattr(cw, verb)(journey.chat, preferences, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    done = torchrun(2, verb, journey.chat, preferences, "-o", out, *words(options), "--json")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 1
    assert_same_curve(Run(out), alone)


@pytest.mark.parametrize("learn_from", ["logits", "samples"])
def test_distilling_on_two_ranks(journey: Journey, tmp_path: Path, learn_from: str) -> None:
    """The teacher ends its replies after a few tokens, so that there is something to learn from."""
    given = {**SFT, "steps": 40, "learning_rate": 1e-2}
    chats = tmp_path / "chats.jsonl"
    chats.write_text("".join(json.dumps(chat_row(f"What is {n}?", "a dog")) + "\n" for n in range(30)))
    teacher = cw.sft(journey.base, chats, tmp_path / "teacher", **given)
    options = {**SFT, "batch_tokens": 640, "steps": 5, "learn_from": learn_from, "max_new_tokens": 8}
    alone = cw.distill(journey.base, teacher, chats, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    done = torchrun(2, "distill", journey.base, teacher, chats, "-o", out, *words(options), "--json")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 1
    assert_same_curve(Run(out), alone)
    if learn_from == "samples":
        written = [run.directory / "demonstrations.jsonl" for run in (Run(out), alone)]
        assert written[0].read_bytes() == written[1].read_bytes()
        assert alone.result["taught"]["demonstrations"] > 10


def test_a_refusal_is_said_once(journey: Journey, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = torchrun(2, "sft", journey.base, journey.chats, "-o", tmp_path, *words(SFT, steps=1))
    assert done.returncode != 0
    assert done.stderr.count("chatwright: ") == 1
    assert "holds other files" in done.stderr
