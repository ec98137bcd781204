"""Direct preference optimization: comparisons teach the policy itself, held to a reference, without a reward model.

Shape suffixes: N sequences, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pairs import WATCHED, Compared, reply_logprobs, watched, weighed
from chatwright.objectives.replies import example_groups
from chatwright.objectives.reward import pairwise_losses

Loss = Literal["sigmoid", "ipo", "hinge", "robust"]


@dataclass(frozen=True)
class DPOOptions:
    """How hard the policy is held to the reference, and how a pair is counted."""

    beta: float = option(0.1, "how hard the policy is held to the reference; lower lets it go farther")
    loss: Loss = option("sigmoid", "sigmoid (DPO), ipo, hinge (SLiC), or robust (to swapped pairs)")
    smoothing: float = option(
        0.0, "share of comparisons that are thought to be wrong (sigmoid: cDPO; robust)"
    )

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise UserError(f"objective.beta={self.beta:g} must be more than 0")
        if not 0 <= self.smoothing < 0.5:
            raise UserError(f"objective.smoothing={self.smoothing:g} must be from 0 to below 0.5")
        if self.smoothing and self.loss not in ("sigmoid", "robust"):
            raise UserError(
                f"objective.smoothing={self.smoothing:g} has no meaning with objective.loss={self.loss}; "
                "leave it out, or choose sigmoid or robust"
            )
        if self.loss == "robust" and not self.smoothing:
            raise UserError(
                "objective.loss=robust needs objective.smoothing=, the share of comparisons thought to be wrong"
            )


def preference_losses(margins: Tensor, beta: float, loss: Loss = "sigmoid", smoothing: float = 0.0) -> Tensor:
    """The loss of pairs, elementwise. `margins`: log(π/π_ref) of the better reply less that of the worse, without β.

    sigmoid: −log σ(h), h = β margin (Rafailov et al. 2023, equation 7), with label smoothing ε as −(1 − ε) log σ(h)
    − ε log σ(−h) (Mitchell 2023, cDPO). robust: (−(1 − ε) log σ(h) + ε log σ(−h)) / (1 − 2ε), whose mean over pairs
    swapped with chance ε is the loss of the right ones (Chowdhury et al. 2024, equation 12). hinge: max(0, 1 − h) (Zhao
    et al. 2023). ipo: (margin − 1 / 2β)² (Azar et al. 2024, equation 17).
    """
    if loss == "ipo":
        return (margins - 1 / (2 * beta)).square()
    scaled = beta * margins
    if loss == "hinge":
        return F.relu(1 - scaled)
    if loss == "robust":
        right, wrong = F.logsigmoid(scaled), F.logsigmoid(-scaled)
        return (smoothing * wrong - (1 - smoothing) * right) / (1 - 2 * smoothing)
    return pairwise_losses(scaled, smoothing)


class DPO(Compared):
    """Direct preference optimization (Rafailov et al. 2023): of two replies, the better one gains more log-probability
    over the reference. Log-probabilities are summed over the reply's tokens, in IPO as well.

    `reference`, a number of every reply, is its log-probability under the reference. A reward is β log(π/π_ref).
    """

    Options = DPOOptions
    needs_reference = True

    def __init__(self, options: DPOOptions = DPOOptions()) -> None:
        self.options = options

    def weights(self, step: int) -> dict[str, float]:
        return {"dpo": 1.0, **WATCHED}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        o = self.options
        logprobs_N = reply_logprobs(roots["policy"], batch)
        ratios_N = logprobs_N - batch["reference"]
        margins_P = ratios_N[batch["better"]] - ratios_N[batch["worse"]]
        losses_P = preference_losses(margins_P, o.beta, o.loss, o.smoothing)
        yield {"dpo": weighed(losses_P, batch), **watched(o.beta * ratios_N, logprobs_N, batch)}

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        return {"policy": tiny_decoder()}, example_groups(replies=3, numbers=("reference",))
