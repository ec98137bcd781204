"""What the objectives over compared replies share: the pairs of every ranking, and the log-probability of whole replies.

Shape suffixes: N sequences, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.data.groups import Group
from chatwright.data.records import Comparison
from chatwright.objectives.contract import Batch
from chatwright.objectives.replies import collate_replies, run_replies, targets_mask


class Compared:
    """Prepares, stacks and counts rankings; each counts once, whatever its length."""

    record: type = Comparison
    needs_reference = False

    def prepare(self, record: Group, rng: np.random.Generator) -> Group:
        return record

    def collate(self, rows: Sequence[Group]) -> Batch:
        """As `collate_replies`, with `pair_places`."""
        batch = collate_replies(rows)
        return replace(batch, tensors={**batch.tensors, **pair_places(rows)})

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), rankings(batch))

    def weights(self, step: int) -> dict[str, float]:
        raise NotImplementedError


def pair_places(rankings: Sequence[Group]) -> dict[str, Tensor]:
    """For every pair of a ranking that is real, over the replies of all rankings one after another: the places of the
    `better` and the `worse` reply, int64[P], the number of the `ranking`, int64[P], and the pair's `share` of it,
    float32[P]."""
    pairs: list[tuple[int, int, int, float]] = []
    at = 0
    for number, group in enumerate(rankings):
        ranks = [reply.numbers["rank"] for reply in group.replies]
        found = [(i, j) for i, high in enumerate(ranks) for j, low in enumerate(ranks) if high < low]
        if group.real:
            pairs += [(at + better, at + worse, number, 1 / len(found)) for better, worse in found]
        at += len(ranks)
    better, worse, numbers, shares = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    places = {"better": better, "worse": worse, "ranking": numbers}
    return {
        **{name: torch.tensor(values, dtype=torch.long) for name, values in places.items()},
        "share": torch.tensor(shares, dtype=torch.float32),
    }


def rankings(batch: Batch) -> int:
    """How many rankings a batch has that teach something."""
    return round(float(batch["share"].sum()))


def reply_logprobs(policy: nn.Module, batch: Batch) -> Tensor:
    """log π(reply | prompt), summed over the reply's tokens, [N] float32; 0 for a reply that is not real."""
    return run_replies(policy, batch, ("logprobs",))["logprobs"].sum(1)


def reply_lengths(batch: Batch) -> Tensor:
    """Tokens of each reply, [N]; 1 for a reply that is not real, so that it may be divided by."""
    return targets_mask(batch).sum(1).clamp(min=1)


def weighed(values_P: Tensor, batch: Batch) -> Tensor:
    """The sum over pairs, each by its share of its ranking."""
    return (values_P * batch["share"]).sum()


@torch.no_grad()
def watched(rewards_N: Tensor, logprobs_N: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What is watched of pairs: the share in which the better reply has the higher reward (a tie counts half), both
    rewards, and both log-probabilities (nats a reply)."""
    better, worse = batch["better"], batch["worse"]
    leads_P = rewards_N[better] - rewards_N[worse]
    return {
        "accuracy": weighed(0.5 * (1 + leads_P.sign()), batch),
        "chosen_reward": weighed(rewards_N[better], batch),
        "rejected_reward": weighed(rewards_N[worse], batch),
        "chosen_logprob": weighed(logprobs_N[better], batch),
        "rejected_logprob": weighed(logprobs_N[worse], batch),
    }


WATCHED = dict.fromkeys(
    ("accuracy", "chosen_reward", "rejected_reward", "chosen_logprob", "rejected_logprob"), 0.0
)
