"""Prompts, judges and short settings for the verbs that learn from judged replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chatwright as cw
from chatwright.runs import Run
from helpers.journey import Journey
from helpers.texts import sentences

ROLLOUTS: dict[str, Any] = {
    "iterations": 3,
    "samples": 16,
    "replies": 4,
    "max_new_tokens": 8,
    "precision": "float32",
    "save_every": 1,
    "eval_every": 3,
}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_prompts(path: Path, count: int = 40) -> Path:
    return write_rows(path, [{"prompt": f"What is {n}?", "answer": n} for n in range(count)])


def make_judge(journey: Journey, out: Path, **options: Any) -> Run:
    """A reward model that likes sentences better than their first words."""
    rows = [
        {"prompt": f"What is {n}?", "chosen": text, "rejected": text[:7]}
        for n, text in enumerate(sentences(40))
    ]
    preferences = write_rows(out.with_suffix(".jsonl"), rows)
    fixed = {"steps": 4, "batch": 8, "learning_rate": 1e-3, "precision": "float32"}
    return cw.reward(journey.chat, preferences, out, **fixed, **options)


def brief(prompt: str, reply: str, **facts: Any) -> float:
    """Fewer characters are better."""
    return -float(len(reply))


def planned(out: Path, like: Run) -> Path:
    """A run that has begun, with the plan of another: the attention kernel, which is measured, is part of the result."""
    info = {**like.info, "status": "running", "result": {}, "content": None}
    out.mkdir()
    (out / "run.json").write_text(json.dumps(info))
    return out
