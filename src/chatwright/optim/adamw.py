"""AdamW (Loshchilov and Hutter 2019), PyTorch's fused one, with decay on matrices only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from chatwright.config import option
from chatwright.optim.groups import Group, GroupedOptimizer, check_ranges, group_parameters


@dataclass(frozen=True)
class AdamWOptions:
    """AdamW on all parameters."""

    learning_rate: float = option(1e-3, "peak rate of all parameters")
    beta1: float = option(0.9, "decay of the mean of gradients")
    beta2: float = option(0.95, "decay of the mean of squared gradients")
    eps: float = option(1e-8, "added to the root of the mean square")
    weight_decay: float = option(0.1, "decay of matrices; embeddings and norms have none")

    def __post_init__(self) -> None:
        check_ranges(
            self, positive=("learning_rate", "eps"), shares=("beta1", "beta2"), at_least_0=("weight_decay",)
        )


class AdamW(GroupedOptimizer):
    """Decoupled weight decay on the model's matrices; none on embeddings and norms."""

    Options = AdamWOptions

    def __init__(self, roots: Mapping[str, nn.Module], options: AdamWOptions) -> None:
        groups = group_parameters(roots)
        decayed, free = [groups.matrices], [groups.tables, groups.vectors]
        settings = [
            *(_settings(group, options.learning_rate, options.weight_decay) for group in decayed),
            *(_settings(group, options.learning_rate, 0.0) for group in free),
        ]
        super().__init__([(adam(settings, options.beta1, options.beta2, options.eps), decayed + free)])


def _settings(group: Group, rate: float, decay: float) -> dict[str, Any]:
    return {"params": group.parameters, "lr": rate, "weight_decay": decay}


def adam(settings: list[dict[str, Any]], beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    """PyTorch's AdamW over the groups that are not empty."""
    filled = [group for group in settings if group["params"]]
    return torch.optim.AdamW(filled, betas=(beta1, beta2), eps=eps, fused=True)
