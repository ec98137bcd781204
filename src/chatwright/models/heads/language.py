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
    """The chunk that the forward pass ends with is the first that the backward pass needs: its logits are kept."""

    @staticmethod
    def forward(
        ctx: Any, rows_NW: Tensor, weight_VW: Tensor, targets_N: Tensor, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        weight = weight_VW.to(rows_NW.dtype)
        count = rows_NW.size(0)
        logprobs, norms, entropies = (torch.zeros(count, device=rows_NW.device) for _ in range(3))
        logits = rows_NW.new_empty(0)
        for part in _chunks(count):
            logits = (rows_NW[part] @ weight.T).float()
            norms[part] = logits.logsumexp(dim=-1)
            logprobs[part] = logits.gather(1, targets_N[part, None]).squeeze(1) - norms[part]
            if entropy:
                chances = (logits - norms[part, None]).exp_()
                entropies[part] = norms[part] - (chances * logits).sum(dim=-1)
        ctx.save_for_backward(rows_NW, weight_VW, targets_N, norms, entropies, logits)
        ctx.entropy = entropy
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_logprobs, grad_entropies = gradients
        rows_NW, weight_VW, targets_N, norms, entropies, kept = ctx.saved_tensors
        weight = weight_VW.to(rows_NW.dtype)
        grad_rows = torch.empty_like(rows_NW)
        grad_weight = torch.zeros_like(weight_VW, dtype=torch.float32)
        for number, part in enumerate(reversed(_chunks(rows_NW.size(0)))):
            logits = kept if number == 0 else (rows_NW[part] @ weight.T).float()
            log_chances = logits - norms[part, None]
            if ctx.entropy:
                # dH/dz_v = -p_v (log p_v + H)
                pull = grad_entropies[part, None] * (log_chances + entropies[part, None])
                slope = log_chances.exp_().mul_(-grad_logprobs[part, None] - pull)
            else:
                slope = log_chances.exp_().mul_(-grad_logprobs[part, None])
            slope.scatter_add_(1, targets_N[part, None], grad_logprobs[part, None])
            slope = slope.to(rows_NW.dtype)
            grad_rows[part] = slope @ weight
            grad_weight += slope.T @ rows_NW[part]
        return grad_rows, grad_weight.to(weight_VW.dtype), None, None


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
