"""Small rankings for objectives over preferences, and what an objective says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chatwright.data.groups import Group, Reply
from chatwright.objectives.contract import Objective
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from helpers.texts import sentences


def ranking(seed: int, *lengths: int) -> Group:
    """Replies of these lengths to one prompt, the best first."""
    draw = np.random.default_rng(seed)
    prompt = draw.integers(0, 60, 2 + seed % 4)
    replies = [np.concatenate([prompt, draw.integers(0, 60, length)]) for length in lengths]
    return Group(tuple(Reply(ids, len(prompt), {"rank": float(n)}) for n, ids in enumerate(replies)))


@torch.no_grad()
def referenced(groups: list[Group], model: nn.Module) -> list[Group]:
    """Groups whose replies carry their log-probability under a model."""
    found = []
    for group in groups:
        sums = reply_logprobs(model, collate_replies([group])).tolist()
        replies = [
            replace(reply, numbers={**reply.numbers, "reference": value})
            for reply, value in zip(group.replies, sums, strict=True)
        ]
        found.append(replace(group, replies=tuple(replies)))
    return found


@torch.no_grad()
def terms_of(objective: Objective[Group], model: nn.Module, groups: list[Group]) -> dict[str, float]:
    """Each term's mean over the groups."""
    batch = objective.collate(groups)
    counts = objective.counts(batch)
    (terms,) = objective.passes({"policy": model}, batch)
    return {term: float(value) / max(1, counts[term]) for term, value in terms.items()}


def write_preferences(path: Path, count: int = 44, seed: int = 1) -> Path:
    """Comparisons in which the better reply is one sentence and the worse one is two."""
    rows: list[dict[str, Any]] = []
    for n, (good, bad) in enumerate(zip(sentences(count, seed), sentences(count, seed + 9), strict=True)):
        rows.append({"prompt": f"What is {n}?", "chosen": good, "rejected": f"{bad} {bad}"})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
