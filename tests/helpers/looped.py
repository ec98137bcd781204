"""Recipes of `align` on a tiny scale, and what they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from helpers.journey import Journey
from helpers.judged import ROLLOUTS, write_prompts

NEW_TOKENS = 12
SAMPLES = {"replies": 3, "prompts": 8, "max_new_tokens": NEW_TOKENS, "cut": True}
DPO = {"learning_rate": 3e-3, "batch": 8, "steps": 6, "precision": "float32"}
REWARD = {"steps": 3, "batch": 8, "learning_rate": 1e-3, "precision": "float32"}
GRPO = {**ROLLOUTS, "iterations": 2, "learning_rate": 1e-2}
RULES = """
def letter(prompt, reply, **facts):
    return reply.count("e") / (1 + len(reply))

def other(prompt, reply, **facts):
    return -letter(prompt, reply)

def equal(prompt, reply, **facts):
    return 1.0
"""

Recipe = Callable[..., Path]


def make_place(folder: Path) -> Path:
    """A folder with 24 prompts and some judges."""
    (folder / "rules.py").write_text(RULES)
    write_prompts(folder / "prompts.jsonl", 24)
    return folder


def write_recipe(place: Path, journey: Journey, name: str = "recipe", **changes: Any) -> Path:
    """A recipe of two rounds of DPO on what a function prefers; None takes a key out."""
    values: dict[str, Any] = {
        "policy": str(journey.chat),
        "prompts": str(place / "prompts.jsonl"),
        "rounds": 2,
        "samples": SAMPLES,
        "judge": {"name": "function", "reward": f"{place / 'rules.py'}:letter"},
        "policy_verb": "dpo",
        "train": DPO,
        "keep": {"prompts": 8},
        **changes,
    }
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return file
