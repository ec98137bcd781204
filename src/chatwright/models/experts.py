"""A sparse mixture of experts in place of the feed-forward part: each token goes through a few of many (Shazeer et al.
2017; in the shape of Qwen3-MoE).

Tokens are sorted by expert, so that an expert multiplies all of its tokens at once and one without tokens costs nothing.

Shape suffixes: B batch, T length, N = B·T, W width, E experts, K experts of a token, M = N·K.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Routing:
    """How many experts there are, how many a token goes through, and whether their shares are made to add up to 1."""

    experts: int
    per_token: int
    normalized: bool


class Stack(nn.Module):
    """The matrices of all experts, [E, out, in] float32; `matrices` casts those that are multiplied."""

    def __init__(self, experts: int, features_in: int, features_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, features_out, features_in))

    def matrices(self) -> tuple[Tensor, ...]:
        # one view for each: indexing would make a gradient of the whole stack's size for every expert
        return self.weight.unbind()


class Router(nn.Module):
    """Each expert's chance for each token, in float32: close calls should not hang on rounding. x: [N, W] → [N, E]."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, width))

    def forward(self, x_NW: Tensor) -> Tensor:
        return F.linear(x_NW.float(), self.weight).softmax(dim=-1)


class Experts(nn.Module):
    """Gated feed-forward parts of `hidden` inner width, of which a token takes the likeliest, weighed by their chances."""

    def __init__(self, width: int, hidden: int, routing: Routing) -> None:
        super().__init__()
        self.routing = routing
        self.router = Router(width, routing.experts)
        self.gate = Stack(routing.experts, width, hidden)
        self.up = Stack(routing.experts, width, hidden)
        self.down = Stack(routing.experts, hidden, width)
        # the sizes differ in every call; made here, because it imports the compiler
        self._apart = torch.compiler.disable(self._mapped)  # type: ignore[no-untyped-call]

    def forward(self, x_BTW: Tensor, real_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The mixed outputs [B, T, W], and each row's `balance` [B] float32 over its real positions (None: all)."""
        batch, length, width = x_BTW.shape
        x_NW = x_BTW.reshape(-1, width)
        chances_NE = self.router(x_NW)
        shares_NK, chosen_NK = chances_NE.topk(self.routing.per_token, dim=-1)
        if self.routing.normalized:
            shares_NK = shares_NK / shares_NK.sum(dim=-1, keepdim=True)
        out_NKW = self._apart(x_NW, chosen_NK)
        mixed_NW = (out_NKW * shares_NK.to(x_NW.dtype)[..., None]).sum(dim=1)
        rows = (batch, length, -1)
        balanced = balance(chances_NE.view(rows), chosen_NK.view(rows), real_BT)
        return mixed_NW.view(batch, length, width), balanced

    def _mapped(self, x_NW: Tensor, chosen_NK: Tensor) -> Tensor:
        """What each token's experts make of it, [N, K, W]."""
        per_token = chosen_NK.size(1)
        order_M = chosen_NK.reshape(-1).argsort(stable=True)
        sizes = torch.bincount(chosen_NK.reshape(-1), minlength=self.routing.experts).tolist()
        parts = torch.split(x_NW[order_M // per_token], sizes)
        stacks = zip(parts, self.gate.matrices(), self.up.matrices(), self.down.matrices(), strict=True)
        outputs = [_gated(part, *(w.to(x_NW.dtype) for w in each)) for part, *each in stacks if len(part)]
        places_M = torch.empty_like(order_M)
        places_M[order_M] = torch.arange(order_M.numel(), device=order_M.device)
        return torch.cat(outputs)[places_M].view(*chosen_NK.shape, -1)


def _gated(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


def balance(chances_BTE: Tensor, chosen_BTK: Tensor, real_BT: Tensor | None = None) -> Tensor:
    """How unevenly each sequence uses the experts, [B] (DeepSeek-AI 2024, DeepSeek-V3, equations 17 to 20, without α).

    Σ over experts of (share of the sequence's choices · E) · (mean chance): 1 for even use, up to E / K. Only chances have a
    gradient. real: [B, T], which positions count; a row without any has 0.
    """
    experts, per_token = chances_BTE.size(-1), chosen_BTK.size(-1)
    counted_BT1 = torch.ones_like(chances_BTE[..., :1]) if real_BT is None else real_BT[..., None].float()
    sizes_B1 = counted_BT1.sum(dim=1).clamp(min=1.0)
    marks_BX = counted_BT1.expand(-1, -1, per_token).flatten(1)
    uses_BE = torch.zeros_like(chances_BTE[:, 0]).scatter_add(1, chosen_BTK.flatten(1), marks_BX)
    means_BE = (chances_BTE * counted_BT1).sum(dim=1) / sizes_B1
    return (uses_BE * experts / (per_token * sizes_B1) * means_BE).sum(dim=-1)
