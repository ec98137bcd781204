"""Weights that hide nothing: a model's first weights make every block the identity, and a leak would not show."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def stirred(model: M, deviation: float = 0.15, seed: int = 3) -> M:
    """Draw every matrix anew, and norms around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, deviation, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(1.0)
    return model
