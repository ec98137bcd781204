"""Rotary positions (Su et al. 2021, RoFormer, section 3.4), in the half-split layout that Llama and Qwen use."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles, the first half of the sines negative, as `rotate` takes them.

    positions: [..., T] integers → two tensors [..., T, head_dim] float32.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions[..., None].float() / theta**exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i+D/2}) by its angle. x: [..., T, D]; cos, sin: of `rotary_table`, broadcastable to x."""
    return torch.addcmul(x * cos, x.roll(x.size(-1) // 2, -1), sin)
