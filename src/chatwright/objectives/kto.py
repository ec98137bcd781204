"""Kahneman–Tversky optimization: single replies that somebody wanted or did not, valued against a baseline.

Shape suffixes: N sequences, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.data.records import LabelledReply
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pairs import WATCHED, Compared, rankings, reply_logprobs, watched
from chatwright.objectives.replies import collate_replies, example_groups, targets_mask

_STRANGER = "stranger_"


@dataclass(frozen=True)
class KTOOptions:
    """How hard the policy is held to the reference, and what either kind of reply counts."""

    beta: float = option(0.1, "how hard the policy is held to the reference; lower lets it go farther")
    desirable: float = option(1.0, "weight of replies that were wanted")
    undesirable: float = option(1.0, "weight of replies that were not")
    group: int = option(8, "replies that share a baseline")

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise UserError(f"objective.beta={self.beta:g} must be more than 0")
        for name in ("desirable", "undesirable"):
            if getattr(self, name) <= 0:
                raise UserError(f"objective.{name}={getattr(self, name):g} must be more than 0")
        if self.group < 2:
            raise UserError(f"objective.group={self.group} must be at least 2: a baseline needs neighbours")


class KTO(Compared):
    """λ_y − λ_y σ(±β(log π/π_ref − z)) of every reply, + for wanted ones, where z = max(0, mean of log π/π_ref over
    replies after prompts that they do not belong to), the same for a group, without a gradient (Ethayarajh et al. 2024,
    section 4.1).

    A row is a group of labelled replies, and of `stranger`s (number 1): the replies after other prompts. `wanted` and
    `reference` are numbers of each. A reward is β log(π/π_ref); the accuracy is the share of a group's pairs, wanted and
    not, in which the wanted reply has the higher one.
    """

    record: type = LabelledReply
    Options = KTOOptions
    needs_reference = True

    def __init__(self, options: KTOOptions = KTOOptions()) -> None:
        self.options = options

    def collate(self, rows: Sequence[Group]) -> Batch:
        """As for comparisons, a group's wanted replies ranked above the others; the tensors of the strangers stand under
        names with a prefix."""
        batch = super().collate([_part(group, stranger=0.0) for group in rows])
        strangers = collate_replies([_part(group, stranger=1.0) for group in rows])
        renamed = {_STRANGER + name: tensor for name, tensor in strangers.tensors.items()}
        return replace(batch, tensors={**batch.tensors, **renamed})

    def counts(self, batch: Batch) -> dict[str, int]:
        real_N, wanted_N = _is_real(batch), batch["wanted"] > 0
        chosen, rejected = int((real_N & wanted_N).sum()), int((real_N & ~wanted_N).sum())
        return {
            "kto": chosen + rejected,
            "accuracy": rankings(batch),
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "chosen_logprob": chosen,
            "rejected_logprob": rejected,
            "baseline": chosen + rejected,
        }

    def weights(self, step: int) -> dict[str, float]:
        return {"kto": 1.0, **WATCHED, "baseline": 0.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        o, policy = self.options, roots["policy"]
        baseline_N = self.baselines(policy, batch)[batch["group"]]
        logprobs_N = reply_logprobs(policy, batch)
        rewards_N = o.beta * (logprobs_N - batch["reference"])
        real_N, wanted_N = _is_real(batch).float(), batch["wanted"]
        leads_N = (2 * wanted_N - 1) * (rewards_N - o.beta * baseline_N)
        weights_N = torch.where(wanted_N > 0, o.desirable, o.undesirable)
        terms = {"kto": (weights_N * (-leads_N).sigmoid() * real_N).sum()}
        with torch.no_grad():
            terms |= watched(rewards_N, logprobs_N, batch)
            for name, side_N in (("chosen", wanted_N), ("rejected", 1 - wanted_N)):
                terms[f"{name}_reward"] = (rewards_N * side_N * real_N).sum()
                terms[f"{name}_logprob"] = (logprobs_N * side_N * real_N).sum()
            terms["baseline"] = (baseline_N * real_N).sum()
        yield terms

    @torch.no_grad()
    def baselines(self, policy: nn.Module, batch: Batch) -> Tensor:
        """The baseline of every group, [G]."""
        strangers = {
            name.removeprefix(_STRANGER): tensor
            for name, tensor in batch.tensors.items()
            if name.startswith(_STRANGER)
        }
        other = Batch(strangers, 0)
        ratios_N = reply_logprobs(policy, other) - other["reference"]
        group_N = other["group"]
        sums_G = torch.zeros(int(group_N.max()) + 1, device=ratios_N.device).index_add(0, group_N, ratios_N)
        return (sums_G / torch.bincount(group_N)).clamp(min=0)

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        groups = []
        for group in example_groups(replies=4, numbers=("reference",)):
            replies = [
                replace(reply, numbers={**reply.numbers, "wanted": float(at % 2), "stranger": float(at // 2)})
                for at, reply in enumerate(group.replies)
            ]
            groups.append(Group(tuple(replies)))
        return {"policy": tiny_decoder()}, groups


def _part(group: Group, stranger: float) -> Group:
    """The labelled replies of a group, or its strangers, ranked by their labels."""
    kept = [reply for reply in group.replies if reply.numbers["stranger"] == stranger]
    ranks = [{"rank": 1 - reply.numbers["wanted"]} for reply in kept]
    replies = [replace(r, numbers={**r.numbers, **rank}) for r, rank in zip(kept, ranks, strict=True)]
    return replace(group, replies=tuple(replies))


def _is_real(batch: Batch) -> Tensor:
    return targets_mask(batch).any(1)
