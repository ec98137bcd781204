"""Simple preference optimization: the mean log-probability is the reward, and no reference is needed.

Shape suffixes: N sequences, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pairs import WATCHED, Compared, reply_lengths, reply_logprobs, watched, weighed
from chatwright.objectives.replies import example_groups
from chatwright.objectives.reward import pairwise_losses


@dataclass(frozen=True)
class SimPOOptions:
    """The scale of the rewards and how far they should part."""

    beta: float = option(2.0, "scale of the mean log-probabilities")
    gamma: float = option(1.0, "how much more reward the better reply should have (the paper: 0.3 to 0.8 β)")

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise UserError(f"objective.beta={self.beta:g} must be more than 0")
        if self.gamma < 0:
            raise UserError(f"objective.gamma={self.gamma:g} must be 0 or more")


class SimPO(Compared):
    """−log σ(β log π(y_w)/|y_w| − β log π(y_l)/|y_l| − γ) (Meng et al. 2024, equation 6).

    Nothing holds the policy to where it started but a low learning rate.
    """

    Options = SimPOOptions

    def __init__(self, options: SimPOOptions = SimPOOptions()) -> None:
        self.options = options

    def weights(self, step: int) -> dict[str, float]:
        return {"simpo": 1.0, **WATCHED}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        logprobs_N = reply_logprobs(roots["policy"], batch)
        rewards_N = self.options.beta * logprobs_N / reply_lengths(batch)
        leads_P = rewards_N[batch["better"]] - rewards_N[batch["worse"]]
        losses_P = pairwise_losses(leads_P - self.options.gamma)
        yield {"simpo": weighed(losses_P, batch), **watched(rewards_N, logprobs_N, batch)}

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        return {"policy": tiny_decoder()}, example_groups(replies=3)
