"""The small parts: linear maps, normalization, feed-forward.

Weights are kept in float32 and cast to the activations' type where they are used, so that one model computes in
float32 or bfloat16 as the plan says, and the optimizer always sees the full-precision weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Module):
    """`y = x Wᵀ`, without bias. W: [out, in] float32; x: [..., in] in the compute type."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features_out, features_in))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """Root-mean-square normalization (Zhang and Sennrich 2019), computed in float32. x: [..., width]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.size(-1),), self.weight, self.eps).to(x.dtype)


class SwiGLU(nn.Module):
    """Gated feed-forward `down(silu(gate(x)) ⊙ up(x))` (Shazeer 2020). x: [..., width]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(width, hidden)
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
