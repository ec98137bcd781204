"""Rotary positions: known angles, and rotations that keep lengths."""

from __future__ import annotations

import math

import torch

from chatwright.models.positions import rotary_table, rotate


def test_known_angles() -> None:
    cos, sin = rotary_table(torch.tensor([0, 3]), head_dim=4, theta=100.0)
    angles = [3.0, 0.3, 3.0, 0.3]
    torch.testing.assert_close(cos[1], torch.tensor([math.cos(a) for a in angles]))
    signs = [-1.0, -1.0, 1.0, 1.0]
    torch.testing.assert_close(
        sin[1], torch.tensor([s * math.sin(a) for s, a in zip(signs, angles, strict=True)])
    )
    assert cos[0].tolist() == [1.0] * 4
    assert sin[0].tolist() == [0.0] * 4


def test_a_pair_is_turned_counter_clockwise() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    turned = rotate(x, *rotary_table(torch.tensor([0, 1]), 2, 1e4))
    torch.testing.assert_close(turned, torch.tensor([[1.0, 0.0], [math.cos(1.0), math.sin(1.0)]]))


def test_turning_keeps_lengths() -> None:
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, *rotary_table(torch.arange(5), 8, 1e4))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
