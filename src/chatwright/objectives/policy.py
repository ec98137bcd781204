"""Policy gradients on sampled replies: the clipped ratio, on tokens or on whole replies, and what is watched with it.

Shape suffixes: N sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder, tiny_shape
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.replies import collate_replies, example_groups, run_replies, targets_mask


@dataclass(frozen=True)
class PolicyOptions:
    """How far a step may go, and how tokens are weighed."""

    clip: float = option(0.2, "the ratio to the sampling policy is bounded below at 1 − clip …")
    clip_high: float | None = option(None, "… and above at 1 + clip_high (default: as clip; DAPO: 0.28)")
    normalise: Literal["tokens", "replies", "constant"] = option(
        "tokens",
        "each token counts alike (DAPO), each reply (GRPO), or tokens over a fixed length (Dr. GRPO)",
    )
    ratio: Literal["token", "reply"] = option(
        "token", "the ratio of each token, or of whole replies (GSPO: the mean over their tokens)"
    )
    kl: float = option(0.0, "weight of the divergence from the reference in the loss (k3)")
    entropy: float = option(0.0, "weight of an entropy bonus")
    length: int = option(256, "the fixed length of normalise=constant, in tokens")
    temperature: float = option(1.0, "the sampling temperature, which divides the logits here as well")

    def __post_init__(self) -> None:
        for name in ("clip", "clip_high"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"objective.{name}={value} must be more than 0")
        for name in ("kl", "entropy"):
            if getattr(self, name) < 0:
                raise UserError(f"objective.{name}={getattr(self, name)} must be 0 or more")
        if self.temperature <= 0 or self.length < 1:
            raise UserError("objective.temperature and objective.length must be more than 0")


def log_ratios(logprobs_NT: Tensor, batch: Batch, whole_replies: bool) -> Tensor:
    """log π / π_old of every token, [N, T], 0 where there is none.

    Without old log-probabilities the policy is the one that sampled: the ratio is 1, and has a gradient. Of whole
    replies it is the mean over their tokens (Zheng et al. 2025, GSPO, equation 7), at each of them.
    """
    old_NT = batch.tensors.get("old_logprobs")
    mask_NT = targets_mask(batch)
    difference_NT = (logprobs_NT - (logprobs_NT.detach() if old_NT is None else old_NT)) * mask_NT
    if not whole_replies:
        return difference_NT
    mean_N = difference_NT.sum(1) / mask_NT.sum(1).clamp(min=1)
    return mean_N[:, None] * mask_NT


def clipped_losses(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """max(−A ρ, −A clip(ρ, 1 − low, 1 + high)), elementwise (Schulman et al. 2017, equation 7)."""
    clipped = ratios.clamp(1 - low, 1 + high)
    return torch.maximum(-advantages * ratios, -advantages * clipped)


def k3(log_ratios_to_other: Tensor) -> Tensor:
    """An estimate of KL(π ‖ other) that is never negative: e^d − 1 − d with d = log other − log π (Schulman 2020)."""
    return torch.expm1(log_ratios_to_other) - log_ratios_to_other


class ClippedPolicy:
    """The clipped policy gradient without a value model: GRPO (Shao et al. 2024, equation 3), Dr. GRPO (Liu et al.
    2025), DAPO (Yu et al. 2025), GSPO, RLOO and REINFORCE (Ahmadian et al. 2024), by what the advantages are and how
    tokens are weighed.

    The loss of an on-policy step is about zero and its gradient is not: it says nothing about progress.
    """

    record: type = Prompt
    Options: type = PolicyOptions

    def __init__(self, options: PolicyOptions = PolicyOptions()) -> None:
        self.options = options

    def prepare(self, record: Group, rng: np.random.Generator) -> Group:
        return record

    def collate(self, rows: Sequence[Group]) -> Batch:
        return collate_replies(rows)

    def counts(self, batch: Batch) -> dict[str, int]:
        mask_NT = targets_mask(batch)
        tokens, replies = int(mask_NT.sum()), int(mask_NT.any(1).sum())
        counts = dict.fromkeys(self.weights(0), tokens)
        return {**counts, "policy": tokens if self.options.normalise == "tokens" else replies}

    def weights(self, step: int) -> dict[str, float]:
        o = self.options
        kl = {"kl": o.kl} if o.kl else {}
        bonus = {"entropy_bonus": o.entropy} if o.entropy else {}
        return {"policy": 1.0, **kl, **bonus, "entropy": 0.0, "approx_kl": 0.0, "clip_share": 0.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        found = run_replies(roots["policy"], batch, ("logprobs", "entropy"), self.options.temperature)
        yield self.policy_terms(found, batch)

    def policy_terms(self, found: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The terms of the policy, from its log-probabilities and entropies."""
        o = self.options
        low, high = o.clip, o.clip if o.clip_high is None else o.clip_high
        mask_NT = targets_mask(batch)
        logs_NT = log_ratios(found["logprobs"], batch, o.ratio == "reply")
        ratios_NT = logs_NT.exp()
        losses_NT = clipped_losses(ratios_NT, batch["advantages"], low, high) * mask_NT
        terms = {"policy": (losses_NT * self._token_weights(mask_NT)).sum()}
        if o.kl:
            terms["kl"] = (k3(batch["reference_logprobs"] - found["logprobs"]) * mask_NT).sum()
        entropy = found["entropy"].sum()
        if o.entropy:
            terms["entropy_bonus"] = -entropy
        with torch.no_grad():
            is_clipped = ((ratios_NT < 1 - low) | (ratios_NT > 1 + high)) & mask_NT
            terms["entropy"] = entropy.detach()
            terms["approx_kl"] = (k3(logs_NT) * mask_NT).sum()
            terms["clip_share"] = is_clipped.float().sum()
        return terms

    def _token_weights(self, mask_NT: Tensor) -> Tensor | float:
        if self.options.normalise == "tokens":
            return 1.0
        if self.options.normalise == "constant":
            return 1.0 / self.options.length
        return 1.0 / mask_NT.sum(1, keepdim=True).clamp(min=1)

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        tokens = ("advantages", "reference_logprobs", "old_logprobs")
        groups = example_groups(replies=2, tokens=tokens)
        # about those of the example's own model, so that ratios are about 1
        tenth = np.float32(0.1)
        usual = np.float32(-np.log(tiny_shape().vocab_size))
        return {"policy": tiny_decoder()}, [
            Group(
                tuple(
                    replace(r, tokens={**r.tokens, "old_logprobs": usual + r.tokens["old_logprobs"] * tenth})
                    for r in group.replies
                )
            )
            for group in groups
        ]
