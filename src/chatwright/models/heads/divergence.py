"""How far two language heads' next-token distributions are apart, computed in chunks.

Two full tables of logits are never kept: a chunk of positions is multiplied by both heads, compared and forgotten, and
computed once more in the backward pass. Positions without a target are left out. Only the student has a gradient.

Shape suffixes: N positions, W width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from chatwright.data.packing import IGNORE

CHUNK = 256
Divergence = Literal["forward", "reverse", "js"]


class Head(NamedTuple):
    """Hidden states [..., W] and the head's weight [V, W] that makes logits of them."""

    hidden: Tensor
    weight: Tensor


def divergences(
    student: Head,
    teacher: Head,
    targets: Tensor,
    kind: Divergence = "forward",
    temperature: float = 1.0,
) -> Tensor:
    """The divergence at every position, [...] float32 nats, zero where the target is IGNORE.

    `forward`: KL(teacher ‖ student). `reverse`: KL(student ‖ teacher). `js`: the mean of both sides' KL to their
    mixture (Jensen–Shannon). `temperature` divides both logits. Of heads of different size (padding) the tokens that
    both have are compared.
    """
    flat = targets.reshape(-1)
    chosen = (flat != IGNORE).nonzero().squeeze(1)
    rows_NW, taught_NW = (
        head.hidden.reshape(-1, head.hidden.size(-1))[chosen] for head in (student, teacher)
    )
    size = min(len(student.weight), len(teacher.weight))
    weight_VW = student.weight[:size].to(rows_NW.dtype)
    teacher_VW = teacher.weight[:size].detach().to(taught_NW.dtype)
    parts = []
    # at least one chunk, though empty: what is given back always has a gradient
    for begin in range(0, max(1, len(chosen)), CHUNK):
        part = slice(begin, begin + CHUNK)
        arguments = (rows_NW[part], weight_VW, taught_NW[part].detach(), teacher_VW, kind, temperature)
        parts.append(checkpoint(_compared, *arguments, use_reentrant=False, preserve_rng_state=False))
    found = torch.zeros(flat.shape, device=flat.device)
    return found.index_put((chosen,), torch.cat(parts)).view(targets.shape)


def _compared(
    rows_NW: Tensor,
    weight_VW: Tensor,
    taught_NW: Tensor,
    teacher_VW: Tensor,
    kind: Divergence,
    temperature: float,
) -> Tensor:
    ours_NV = _log_chances(rows_NW, weight_VW, temperature)
    theirs_NV = _log_chances(taught_NW, teacher_VW, temperature)
    if kind == "forward":
        return _kl(theirs_NV, ours_NV)
    if kind == "reverse":
        return _kl(ours_NV, theirs_NV)
    mixed_NV = torch.logaddexp(ours_NV, theirs_NV) - math.log(2)
    return 0.5 * (_kl(theirs_NV, mixed_NV) + _kl(ours_NV, mixed_NV))


def _log_chances(rows_NW: Tensor, weight_VW: Tensor, temperature: float) -> Tensor:
    return F.log_softmax((rows_NW @ weight_VW.T).float() / temperature, dim=-1)


def _kl(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    """KL(p ‖ q) from log-probabilities, [N]."""
    return (p_NV.exp() * (p_NV - q_NV)).sum(-1)
