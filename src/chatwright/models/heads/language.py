"""The language-model head: log-probabilities of given tokens, computed in chunks.

A full table of logits for 8,192 positions and 4,096 tokens is 128 MB in float32 and its cross-entropy a quarter of
an eager training step. Here a chunk of positions is multiplied, reduced and forgotten; the backward pass multiplies
it once more (but the last, which it still has). Positions without a target are never multiplied at all.

Shape suffixes: N positions, W width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chatwright.data.packing import IGNORE

CHUNK = 1024


def token_logprobs(
    hidden: Tensor, weight_VW: Tensor, targets: Tensor, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target, and the entropy of its distribution where asked; both float32.

    hidden: [..., W] in the compute type; weight: [V, W]; targets: [...] integers, IGNORE where there is none.
    Returns [...] each, zero where the target is IGNORE.
    """
    flat = targets.reshape(-1)
    chosen = (flat != IGNORE).nonzero().squeeze(1)
    rows = hidden.reshape(-1, hidden.size(-1))
    if chosen.numel() < flat.numel():
        rows = rows.index_select(0, chosen)
    logprobs, entropies = _ChunkedLogprobs.apply(rows, weight_VW, flat[chosen], entropy)  # type: ignore[no-untyped-call]

    def spread(values: Tensor) -> Tensor:
        empty = torch.zeros(flat.shape, dtype=values.dtype, device=values.device)
        return empty.index_put((chosen,), values).view(targets.shape)

    return spread(logprobs), spread(entropies) if entropy else None


class _ChunkedLogprobs(torch.autograd.Function):
    """The chunk that the forward pass ends with is the first that the backward pass needs: its table is kept."""

    @staticmethod
    def forward(
        ctx: Any, rows_NW: Tensor, weight_VW: Tensor, targets_N: Tensor, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        weight = weight_VW.to(rows_NW.dtype)
        logprobs, entropies = (torch.zeros(rows_NW.size(0), device=rows_NW.device) for _ in range(2))
        ctx.last_table = None
        for part in _chunks(rows_NW.size(0)):
            ctx.last_table = table_NV = _log_softmax(rows_NW[part], weight)
            logprobs[part] = table_NV.gather(1, targets_N[part, None]).squeeze(1)
            if entropy:
                entropies[part] = -(table_NV.exp() * table_NV).sum(dim=-1)
        ctx.save_for_backward(rows_NW, weight_VW, targets_N, entropies)
        ctx.entropy = entropy
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_logprobs, grad_entropies = gradients
        rows_NW, weight_VW, targets_N, entropies = ctx.saved_tensors
        weight = weight_VW.to(rows_NW.dtype)
        grad_rows = torch.empty_like(rows_NW)
        grad_weight = torch.zeros_like(weight_VW, dtype=torch.float32)
        # it is overwritten below, so a second backward pass has to compute it again
        kept, ctx.last_table = ctx.last_table, None
        for part in reversed(_chunks(rows_NW.size(0))):
            table_NV = _log_softmax(rows_NW[part], weight) if kept is None else kept
            kept, pull_N1 = None, -grad_logprobs[part, None]
            if ctx.entropy:
                # dH/dz_v = -p_v (log p_v + H)
                pull_N1 = pull_N1 - grad_entropies[part, None] * (table_NV + entropies[part, None])
            slope = table_NV.exp_().mul_(pull_N1)
            slope.scatter_add_(1, targets_N[part, None], grad_logprobs[part, None])
            slope = slope.to(rows_NW.dtype)
            grad_rows[part] = slope @ weight
            grad_weight += slope.T @ rows_NW[part]
        return grad_rows, grad_weight.to(weight_VW.dtype), None, None


def _log_softmax(rows_NW: Tensor, weight_VW: Tensor) -> Tensor:
    """[N, V] float32."""
    return (rows_NW @ weight_VW.T).log_softmax(dim=-1, dtype=torch.float32)


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
