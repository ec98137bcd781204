"""The small parts: linear maps, normalization, feed-forward.

Weights are kept in float32 and cast to the activations' type where they are used, so that one model computes in
float32 or bfloat16 as the plan says, and the optimizer always sees the full-precision weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Module):
    """`y = x Wᵀ (+ b)`. W: [out, in] and b: [out] float32; x: [..., in] in the compute type."""

    def __init__(self, features_in: int, features_out: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features_out, features_in))
        self.bias = nn.Parameter(torch.empty(features_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding whose rows are not set yet: on the meta device, setting them would load PyTorch's compiler, which takes
    longer than reading a small model."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class LayerNorm(nn.Module):
    """Layer normalization (Ba et al. 2016): centred and scaled, computed in float32. x: [..., width]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class RMSNorm(nn.Module):
    """Root-mean-square normalization (Zhang and Sennrich 2019), computed in float32. x: [..., width]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    """`x / rms(x) ⊙ weight` with its derivative written out: half the operations of PyTorch's on a processor.

    With n = x / rms(x) and g the gradient: dx = (g ⊙ w − n · mean(g ⊙ w ⊙ n)) / rms(x), dw = Σ g ⊙ n.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_W: Tensor, eps: float) -> Tensor:
        wide = x.float()
        mean_square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.size(-1))
        inverse = mean_square.add_(eps).rsqrt_()
        ctx.save_for_backward(x, inverse, weight_W)
        normed: Tensor = wide * inverse
        return normed.mul_(weight_W).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, inverse, weight_W = ctx.saved_tensors
        gradient, normed = gradients[0].float(), x.float() * inverse
        product = gradient * normed
        mean = (product @ weight_W).div_(weight_W.numel()).unsqueeze(-1)
        grad_x = (gradient * weight_W).addcmul_(normed, mean, value=-1).mul_(inverse)
        return grad_x.to(x.dtype), product.reshape(-1, weight_W.numel()).sum(0), None


class SwiGLU(nn.Module):
    """Gated feed-forward `down(silu(gate(x)) ⊙ up(x))` (Shazeer 2020). x: [..., width]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(width, hidden)
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


class MLP(nn.Module):
    """Feed-forward `down(act(up(x)))` (Vaswani et al. 2017, section 3.3), with biases. x: [..., width]."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.up = Linear(width, hidden, bias=True)
        self.down = Linear(hidden, width, bias=True)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]
