"""An objective's own terms on held-out rows: what training minimizes and watches, where nothing was learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from chatwright.data.packing import Rows
from chatwright.distributed.launch import World
from chatwright.evaluation.answers import wilson_interval
from chatwright.objectives.contract import Batch, Objective, Roots, Row

R = TypeVar("R", bound=Row)


def add_terms(
    objective: Objective[Any], roots: Roots, batch: Batch, sums: dict[str, float], counts: Counter[str]
) -> None:
    """Add the sums of a batch's terms, and their counts."""
    counts.update(objective.counts(batch))
    for terms in objective.passes(roots, batch):
        for term, value in terms.items():
            sums[term] += float(value)


@torch.no_grad()
def held_out_terms(
    objective: Objective[R],
    roots: Roots,
    rows: Rows[R],
    cut: Callable[[Sequence[R]], list[list[R]]],
    world: World,
) -> dict[str, Any]:
    """`loss`, the weighted sum of the terms' means over all rows, shared out over all processes; every term by itself
    where there are several; every metric; and of `accuracy` the Wilson interval (95 %)."""
    share = [rows.row(0, index) for index in range(world.rank, rows.rows_in_epoch(0), world.size)]
    weights = objective.weights(0)
    sums, counts = dict.fromkeys(weights, 0.0), Counter(dict.fromkeys(weights, 0))
    for part in cut(share) if share else []:
        add_terms(objective, roots, objective.collate(part).to(world.device), sums, counts)
    totals, numbers = world.sum(sums), world.sum(counts)
    means = {term: totals[term] / max(1.0, numbers[term]) for term in weights}
    minimized = [term for term, weight in weights.items() if weight]
    found: dict[str, Any] = {"loss": sum(weights[term] * means[term] for term in minimized)}
    found |= {term: mean for term, mean in means.items() if term not in minimized or len(minimized) > 1}
    if "accuracy" in found:
        found["accuracy_interval"] = list(wilson_interval(totals["accuracy"], int(numbers["accuracy"])))
    return found
