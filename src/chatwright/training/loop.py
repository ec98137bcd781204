"""The one training loop. It knows nothing of text: it adds up terms, divides by global counts, and steps.

    total = Σ over terms of  weight × sum / global count

Counts are known before the forward pass and summed over micro-batches and ranks first, so that every partition of a
batch gives the same gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.objectives.contract import Batch, Objective


class Source(Protocol):
    """Where micro-batches come from: stored text, or a policy that samples."""

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of one optimizer step, as many on every rank."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Optimizer(Protocol):
    """What the loop needs of an optimizer over all roots."""

    @property
    def parameters(self) -> list[nn.Parameter]: ...

    def step(self, factor: float) -> None: ...

    def zero_grad(self) -> None: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Step:
    """What one optimizer step did. `number` counts steps done; `terms` are means over the global batch; `targets` are
    the tokens that were predicted."""

    number: int
    terms: dict[str, float]
    gradient_norm: float
    factor: float
    tokens: int
    targets: int
    seconds: float


def steps(
    objective: Objective[Any],
    source: Source,
    roots: Mapping[str, nn.Module],
    optimizer: Optimizer,
    factor: Callable[[int], float],
    world: World,
    first: int,
    last: int,
    clip: float,
) -> Iterator[Step]:
    """Do the optimizer steps `first` … `last - 1` and yield after each.

    `factor(step)` scales the learning rates; `clip` bounds the global gradient norm (0: no bound).
    Raises UserError when the gradient is not finite, before it touches the weights.
    """
    for step in range(first, last):
        begun = time.perf_counter()
        batches = [batch.to(world.device) for batch in source.batches(step)]
        totals = global_counts(objective, batches, world)
        sums = accumulate(objective, batches, roots, objective.weights(step), totals)
        world.sum_gradients(optimizer.parameters)
        norm = clip_gradients(optimizer.parameters, clip)
        if not math.isfinite(norm):
            raise UserError(
                f"the gradient is not finite at step {step + 1}; give a new -o with a lower learning_rate="
            )
        # momentum and decay would go on by themselves, but only where ranks have made zeros of missing gradients
        if any(totals.values()):
            optimizer.step(factor(step))
        optimizer.zero_grad()
        everywhere = world.sum({**sums, "": float(sum(batch.tokens for batch in batches))})
        tokens = int(everywhere.pop(""))
        means = {term: value / max(1, totals[term]) for term, value in everywhere.items()}
        targets = max(totals.values())
        yield Step(step + 1, means, norm, factor(step), tokens, targets, time.perf_counter() - begun)


def global_counts(objective: Objective[Any], batches: list[Batch], world: World) -> dict[str, int]:
    """Each term's denominator over all micro-batches and ranks."""
    counts = dict.fromkeys(objective.weights(0), 0)
    for batch in batches:
        for term, count in objective.counts(batch).items():
            counts[term] += count
    return {term: int(count) for term, count in world.sum(counts).items()}


def accumulate(
    objective: Objective[Any],
    batches: list[Batch],
    roots: Mapping[str, nn.Module],
    weights: Mapping[str, float],
    totals: Mapping[str, int],
) -> dict[str, float]:
    """Add this rank's gradients up over its micro-batches; return each term's sum. A term counted 0 adds nothing."""
    sums = dict.fromkeys(weights, 0.0)
    for batch in batches:
        for terms in objective.passes(roots, batch):
            live = {term: total for term, total in terms.items() if totals[term]}
            for term, total in live.items():
                sums[term] += float(total.detach())
            if live:
                parts = [weights[term] / totals[term] * total for term, total in live.items()]
                torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
    return sums


def clip_gradients(parameters: list[nn.Parameter], bound: float) -> float:
    """Scale the gradients down to a global norm of at most `bound`; return the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if bound > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, bound, norm)
    return float(norm)
