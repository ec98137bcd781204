"""Odds ratio preference optimization: demonstrations and comparisons in one loss, without a reference.

Shape suffixes: N sequences, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pairs import WATCHED, Compared, reply_lengths, reply_logprobs, watched, weighed
from chatwright.objectives.replies import example_groups, targets_mask
from chatwright.objectives.reward import pairwise_losses

# Odds of a reply that is all but certain would divide by zero.
_MOST_CERTAIN = -1e-6


@dataclass(frozen=True)
class ORPOOptions:
    """What the comparison counts beside the demonstration."""

    weight: float = option(0.1, "λ: weight of the odds ratio beside the loss on the chosen replies' tokens")

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise UserError(f"objective.weight={self.weight:g} must be more than 0; without it, run sft")


def log_odds(mean_logprobs: Tensor) -> Tensor:
    """log(P / (1 − P)) of P = exp(mean log-probability of a reply's tokens), elementwise (Hong et al. 2024, equation 4)."""
    bounded = mean_logprobs.clamp(max=_MOST_CERTAIN)
    return bounded - (-torch.expm1(bounded)).log()


class ORPO(Compared):
    """The next-token loss of the chosen replies, and λ times −log σ(log odds(y_w) − log odds(y_l)) (Hong et al. 2024,
    equations 6 and 7). It starts from a base model as well as from a chat model.

    Of a ranking the chosen replies are those of the best rank. The first term counts their tokens, the second rankings.
    A reward is the log odds of a reply.
    """

    Options = ORPOOptions

    def __init__(self, options: ORPOOptions = ORPOOptions()) -> None:
        self.options = options

    def collate(self, rows: Sequence[Group]) -> Batch:
        """As for every comparison, and `chosen`, bool[N]."""
        batch = super().collate(rows)
        best = [min(reply.numbers["rank"] for reply in group.replies) for group in rows]
        chosen_N = batch["rank"] == torch.tensor(best, dtype=torch.float32)[batch["group"]]
        return replace(batch, tensors={**batch.tensors, "chosen": chosen_N})

    def counts(self, batch: Batch) -> dict[str, int]:
        tokens = int((targets_mask(batch) & batch["chosen"][:, None]).sum())
        return {**super().counts(batch), "next_token": tokens}

    def weights(self, step: int) -> dict[str, float]:
        return {"next_token": 1.0, "odds_ratio": self.options.weight, **WATCHED}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        logprobs_N = reply_logprobs(roots["policy"], batch)
        odds_N = log_odds(logprobs_N / reply_lengths(batch))
        losses_P = pairwise_losses(odds_N[batch["better"]] - odds_N[batch["worse"]])
        yield {
            "next_token": -(logprobs_N * batch["chosen"]).sum(),
            "odds_ratio": weighed(losses_P, batch),
            **watched(odds_N, logprobs_N, batch),
        }

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        return {"policy": tiny_decoder()}, example_groups(replies=3)
