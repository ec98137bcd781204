"""Muon: momentum, made orthogonal by Newton–Schulz, for matrices; AdamW for the rest (Jordan et al. 2024).

PyTorch has a Muon, and this one takes the same step (a test holds the two together). It differs in speed: matrices of
one shape go through Newton–Schulz as one batch, in float32; PyTorch's goes one by one in bfloat16, which a processor
without bfloat16 units multiplies three times as slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.optim.adamw import adam
from chatwright.optim.groups import GroupedOptimizer, check_ranges, group_parameters

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@dataclass(frozen=True)
class MuonOptions:
    """Muon on matrices, AdamW on embeddings and norms."""

    learning_rate: float = option(0.02, "peak rate of the matrices")
    table_rate: float = option(0.006, "peak rate of embeddings, by AdamW")
    vector_rate: float = option(0.006, "peak rate of norms, by AdamW")
    momentum: float = option(0.95, "decay of the momentum")
    weight_decay: float = option(0.0, "decay of matrices, relative to the rate")
    newton_schulz_steps: int = option(5, "iterations towards orthogonality")
    beta1: float = option(0.9, "AdamW: decay of the mean of gradients")
    beta2: float = option(0.95, "AdamW: decay of the mean of squared gradients")
    eps: float = option(1e-10, "AdamW: added to the root of the mean square")

    def __post_init__(self) -> None:
        positive = ("learning_rate", "table_rate", "vector_rate", "eps", "newton_schulz_steps")
        check_ranges(self, positive, shares=("momentum", "beta1", "beta2"), at_least_0=("weight_decay",))


class Muon(GroupedOptimizer):
    """Muon for the model's matrices, AdamW for embeddings and norms, one schedule over both."""

    Options = MuonOptions

    def __init__(self, roots: Mapping[str, nn.Module], options: MuonOptions) -> None:
        groups = group_parameters(roots)
        parts: list[tuple[torch.optim.Optimizer, list[Any]]] = []
        if groups.matrices.parameters:
            parts.append((MatrixMuon(groups.matrices.parameters, options), [groups.matrices]))
        rest = [
            {"params": groups.tables.parameters, "lr": options.table_rate, "weight_decay": 0.0},
            {"params": groups.vectors.parameters, "lr": options.vector_rate, "weight_decay": 0.0},
        ]
        adamw = adam(rest, options.beta1, options.beta2, options.eps)
        super().__init__([*parts, (adamw, [groups.tables, groups.vectors])])


class MatrixMuon(torch.optim.Optimizer):
    """Nesterov momentum, Newton–Schulz over each batch of same-shaped matrices, then a step of the rate times
    sqrt(max(1, rows / columns))."""

    def __init__(self, parameters: Iterable[nn.Parameter], options: MuonOptions) -> None:
        self.options = options
        self.dtype = torch.float32
        super().__init__(parameters, {"lr": options.learning_rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                self._step_batch(parameters, group["lr"], max(1.0, shape[-2] / shape[-1]) ** 0.5)

    def _step_batch(self, parameters: list[nn.Parameter], rate: float, scale: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self._momentum(parameter) for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - self.options.momentum)
        updates = torch._foreach_lerp(gradients, momenta, self.options.momentum)
        weights: list[Tensor] = list(parameters)
        stacked = torch.stack(updates).to(self.dtype)
        # experts are a stack of matrices, each with directions of its own
        directions = orthogonalize(stacked.flatten(0, -3), self.options.newton_schulz_steps).view_as(stacked)
        if self.options.weight_decay:
            torch._foreach_mul_(weights, 1 - rate * self.options.weight_decay)
        moves = list(directions.to(parameters[0].dtype).unbind())
        torch._foreach_add_(weights, moves, alpha=-rate * scale)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonalize(matrices: Tensor, steps: int) -> Tensor:
    """The nearest (semi-)orthogonal matrices, roughly: with 5 steps singular values end between 0.7 and 1.2.

    matrices: [N, rows, columns]. A quintic Newton–Schulz iteration; a zero matrix stays zero.
    """
    a, b, c = _COEFFICIENTS
    wide = matrices.size(-2) > matrices.size(-1)
    x: Tensor = matrices.mT if wide else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if wide else x
