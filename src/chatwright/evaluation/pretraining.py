"""The terms of an objective over text on held-out rows, with the accuracies that belong to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from chatwright.data.packing import Rows
from chatwright.distributed.launch import World
from chatwright.evaluation.answers import wilson_interval
from chatwright.evaluation.held_out import add_terms
from chatwright.objectives.contract import Objective, Roots

_ACCURACY = "_accuracy"


@torch.no_grad()
def held_out_text(
    objective: Objective[Any],
    roots: Roots,
    rows: Rows[Any],
    kept_rows: int,
    rows_together: int,
    chances: Mapping[str, float],
    world: World,
) -> dict[str, Any]:
    """Every term's mean over `kept_rows` rows, spread evenly over the first epoch and shared out over all processes.

    Random choices are the same at every call. An accuracy has its Wilson interval (95 %) beside it as `<term>_interval`,
    and from `chances` {term: share} as `<term>_chance` what it would be without having learnt anything.
    """
    total = rows.rows_in_epoch(0)
    chosen = np.unique(np.linspace(0, total - 1, min(kept_rows, total)).astype(int))
    share = chosen[world.rank :: world.size].tolist()
    sums = dict.fromkeys(_names(objective), 0.0)
    counts = Counter(dict.fromkeys(sums, 0))
    for start in range(0, len(share), rows_together):
        prepared = [
            objective.prepare(rows.row(0, index), np.random.default_rng((0, 0, index)))
            for index in share[start : start + rows_together]
        ]
        batch = objective.collate(prepared).to(world.device)
        add_terms(objective, roots, batch, sums, counts)
        for term, (right, number) in _shares(objective, roots, batch).items():
            sums[term + _ACCURACY] += float(right)
            counts[term + _ACCURACY] += number
    totals, numbers = world.sum(sums), world.sum(counts)
    return _found(totals, numbers, chances)


def _names(objective: Objective[Any]) -> list[str]:
    """All that may be summed: every process brings the same names, whether it has rows or not."""
    extra = [f"{term}{_ACCURACY}" for term in getattr(objective, "accuracies", ())]
    return [*objective.weights(0), *extra]


def _shares(objective: Objective[Any], roots: Roots, batch: Any) -> dict[str, Any]:
    ask = getattr(objective, "shares", None)
    return dict(ask(roots, batch)) if ask is not None else {}


def _found(
    totals: Mapping[str, float], numbers: Mapping[str, float], chances: Mapping[str, float]
) -> dict[str, Any]:
    """Means of what was counted at all, with intervals and chances."""
    found: dict[str, Any] = {}
    for name, total in totals.items():
        if not numbers[name]:
            continue
        found[name] = total / numbers[name]
        if name.endswith(_ACCURACY):
            term = name.removesuffix(_ACCURACY)
            found[f"{term}_interval"] = list(wilson_interval(total, int(numbers[name])))
            if term in chances:
                found[f"{term}_chance"] = chances[term]
    return found
