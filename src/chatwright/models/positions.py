"""Rotary positions (Su et al. 2021, RoFormer, section 3.4), in the half-split layout that Llama and Qwen use; and
places in documents that share a row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RotaryScaling:
    """Slower rotary angles for a longer context (Llama 3.1, Grattafiori et al. 2024, in its published code).

    Angles that turn fewer than `low` times in the `context` tokens of the first training are `factor` times slower,
    those that turn more than `high` times stay, and between the two it goes over smoothly.
    """

    factor: float
    low: float
    high: float
    context: int

    def slowed(self, rates: Tensor) -> Tensor:
        """rates: radians a token, [D / 2]."""
        turns = self.context * rates / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        return rates * (kept + (1 - kept) / self.factor)


def rotary_table(
    positions: Tensor, head_dim: int, theta: float, scaling: RotaryScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles, the first half of the sines negative, as `rotate` takes them.

    positions: [..., T] integers → two tensors [..., T, head_dim] float32.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    rates = 1.0 / theta**exponents
    angles = positions[..., None].float() * (rates if scaling is None else scaling.slowed(rates))
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i+D/2}) by its angle. x: [..., T, D]; cos, sin: of `rotary_table`, broadcastable to x."""
    return torch.addcmul(x * cos, x.roll(x.size(-1) // 2, -1), sin)


def places_in_segments(segments_BT: Tensor) -> Tensor:
    """The place of each position in its run of equal segment numbers, counted from 0, [B, T]."""
    places_T = torch.arange(segments_BT.size(1), device=segments_BT.device)
    begins_BT = torch.zeros_like(segments_BT, dtype=torch.bool)
    begins_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    return places_T - (places_T * begins_BT).cummax(dim=1).values
