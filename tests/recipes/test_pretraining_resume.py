"""BERT's pretraining and a mixture: killed and resumed bit for bit, and the same on two processes as on one."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

import chatwright as cw
from chatwright.distributed.checkpoint import states
from chatwright.runs import Run
from helpers.command import chatwright, killed_when, torchrun
from helpers.journey import SHAPE, TRAINING, Journey, words

pytestmark = pytest.mark.slow
BERT = {
    "model": "bert-tiny",
    "model.width": 32,
    "model.heads": 2,
    "model.feed_forward": 48,
    "model.context": 128,
}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {**BERT, "objective": "masked,next_sentence"},
    "electra": {**BERT, "objective": "replaced_token"},
    "mixture": {**SHAPE, "objective": "masked,causal", "objective.causal.weight": 0.5},
}


def losses(run: Run) -> list[dict[str, float]]:
    return [row["loss"] for row in run.metrics() if "loss" in row]


@pytest.mark.parametrize("kind", list(KINDS))
def test_killed_and_resumed_it_ends_as_if_it_had_not_been(
    journey: Journey, tmp_path: Path, kind: str
) -> None:
    options = words(TRAINING, **KINDS[kind], steps=12, save_every=2, eval_every=4)

    def command(out: Path) -> list[str]:
        return ["pretrain", str(journey.corpus), str(journey.tokenizer), "-o", str(out), *options]

    whole, out = tmp_path / "whole", tmp_path / "killed"
    done = chatwright(*command(whole))
    assert done.returncode == 0, done.stderr
    out.mkdir()
    # what was measured is a part of the result
    (out / "run.json").write_text(
        json.dumps({**Run(whole).info, "status": "running", "result": {}, "content": None})
    )
    code, said = killed_when((out / "state" / "step-4").exists, *command(out))
    assert code == -signal.SIGKILL, said
    assert states(out / "state")
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stderr
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert losses(Run(out)) == losses(Run(whole))
    assert Run(out).result["after"] == Run(whole).result["after"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_two_processes_learn_what_one_learns(journey: Journey, tmp_path: Path, kind: str) -> None:
    options = {**TRAINING, **KINDS[kind], "batch_tokens": 448, "steps": 4, "micro_tokens": 64}
    alone = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "alone", **options)
    out = tmp_path / "ranks"
    done = torchrun(2, "pretrain", journey.corpus, journey.tokenizer, "-o", out, *words(options))
    assert done.returncode == 0, done.stderr
    for found, wanted in zip(losses(Run(out)), losses(alone), strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=2e-5)
    mine, right = (load_file(run.directory / "model.safetensors") for run in (Run(out), alone))
    for name, value in right.items():
        assert mine[name] == pytest.approx(value, rel=1e-3, abs=2e-4), name
