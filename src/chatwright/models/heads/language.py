"""The language-model head: log-probabilities of given tokens, computed in chunks.

A full table of logits for 8,192 positions and 4,096 tokens is 128 MB in float32 and its cross-entropy a quarter of
an eager training step. Here a chunk of positions is multiplied, reduced and forgotten; the backward pass multiplies
it once more (but the last, which it still has). Positions without a target are never multiplied at all.

Shape suffixes: N positions, W width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.data.packing import IGNORE

CHUNK = 1024


def token_logprobs(
    hidden: Tensor,
    weight_VW: Tensor,
    targets: Tensor,
    entropy: bool = False,
    bias_V: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target, and the entropy of its distribution where asked; both float32.

    hidden: [..., W] in the compute type; weight: [V, W]; targets: [...] integers, IGNORE where there is none; bias:
    [V] float32, added to the logits.
    Returns [...] each, zero where the target is IGNORE.
    """
    flat = targets.reshape(-1)
    chosen = (flat != IGNORE).nonzero().squeeze(1)
    rows = hidden.reshape(-1, hidden.size(-1))
    if chosen.numel() < flat.numel():
        rows = rows.index_select(0, chosen)
    logprobs, entropies = _ChunkedLogprobs.apply(rows, weight_VW, bias_V, flat[chosen], entropy)  # type: ignore[no-untyped-call]

    def spread(values: Tensor) -> Tensor:
        empty = torch.zeros(flat.shape, dtype=values.dtype, device=values.device)
        return empty.index_put((chosen,), values).view(targets.shape)

    return spread(logprobs), spread(entropies) if entropy else None


def token_outputs(
    hidden: Tensor,
    weight_VW: Tensor,
    targets: Tensor | None,
    outputs: Collection[str],
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
) -> dict[str, Tensor]:
    """Of `logits` [..., V], `logprobs` and `entropy` [...] those that `outputs` names, float32; the latter two need
    targets. temperature divides the logits, as it does in sampling."""
    if temperature != 1.0:
        hidden, bias_V = hidden / temperature, None if bias_V is None else bias_V / temperature
    found: dict[str, Tensor] = {}
    if "logits" in outputs:
        logits = F.linear(hidden, weight_VW.to(hidden.dtype)).float()
        found["logits"] = logits if bias_V is None else logits + bias_V
    if "logprobs" in outputs or "entropy" in outputs:
        assert targets is not None, "log-probabilities need targets"
        found["logprobs"], entropy = token_logprobs(hidden, weight_VW, targets, "entropy" in outputs, bias_V)
        if entropy is not None:
            found["entropy"] = entropy
    return found


class _ChunkedLogprobs(torch.autograd.Function):
    """The chunk that the forward pass ends with is the first that the backward pass needs: its chances are kept."""

    @staticmethod
    def forward(
        ctx: Any,
        rows_NW: Tensor,
        weight_VW: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        weight = weight_VW.to(rows_NW.dtype)
        logprobs, entropies = (torch.zeros(rows_NW.size(0), device=rows_NW.device) for _ in range(2))
        ctx.kept = None
        for part in _chunks(rows_NW.size(0)):
            logits_NV = _shifted_logits(rows_NW[part], weight, bias_V)
            chosen = logits_NV.gather(1, targets_N[part, None]).squeeze(1)
            exps_NV = logits_NV.exp() if entropy else logits_NV.exp_()
            sums = exps_NV.sum(dim=-1)
            logprobs[part] = chosen - sums.log()
            if entropy:
                entropies[part] = sums.log() - logits_NV.mul_(exps_NV).sum(dim=-1) / sums
            ctx.kept = exps_NV, sums
        ctx.save_for_backward(rows_NW, weight_VW, bias_V, targets_N, entropies)
        ctx.entropy = entropy
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        grad_logprobs, grad_entropies = gradients
        rows_NW, weight_VW, bias_V, targets_N, entropies = ctx.saved_tensors
        weight = weight_VW.to(rows_NW.dtype)
        grad_rows = torch.empty_like(rows_NW)
        grad_weight = torch.zeros_like(weight_VW, dtype=torch.float32)
        grad_bias = None if bias_V is None else torch.zeros_like(bias_V)
        # it is overwritten below, so a second backward pass has to compute it again
        kept, ctx.kept = ctx.kept, None
        for part in reversed(_chunks(rows_NW.size(0))):
            exps_NV, sums = kept or _exponentials(rows_NW[part], weight, bias_V)
            kept, pull = None, -grad_logprobs[part, None]
            if ctx.entropy:
                # dH/dz_v = -p_v (log p_v + H); a chance of zero adds nothing
                log_chances = (exps_NV / sums[:, None]).clamp_(min=torch.finfo(torch.float32).tiny).log_()
                pull = pull - grad_entropies[part, None] * log_chances.add_(entropies[part, None])
            slope = exps_NV.mul_(pull / sums[:, None])
            slope.scatter_add_(1, targets_N[part, None], grad_logprobs[part, None])
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0)
            slope = slope.to(rows_NW.dtype)
            grad_rows[part] = slope @ weight
            grad_weight += slope.T @ rows_NW[part]
        return grad_rows, grad_weight.to(weight_VW.dtype), grad_bias, None, None


def _shifted_logits(rows_NW: Tensor, weight_VW: Tensor, bias_V: Tensor | None) -> Tensor:
    """Logits less the largest of each position, [N, V] float32."""
    logits = (rows_NW @ weight_VW.T).float()
    if bias_V is not None:
        logits += bias_V
    return logits.sub_(logits.amax(dim=-1, keepdim=True))


def _exponentials(rows_NW: Tensor, weight_VW: Tensor, bias_V: Tensor | None) -> tuple[Tensor, Tensor]:
    """exp(shifted logits) [N, V] and their sums [N]: the chances are one over the other."""
    exps = _shifted_logits(rows_NW, weight_VW, bias_V).exp_()
    return exps, exps.sum(dim=-1)


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
