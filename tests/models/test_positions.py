"""Rotary positions: known angles, and rotations that keep lengths."""

from __future__ import annotations

import math

import torch

from chatwright.models.positions import RotaryScaling, places_in_segments, rotary_table, rotate


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


def test_slow_angles_become_slower_and_fast_ones_stay() -> None:
    """In 100 tokens: 16 turns stay, half a turn becomes 8 times slower, 2.5 turns lie half way between 1 and 4."""
    scaling = RotaryScaling(factor=8.0, low=1.0, high=4.0, context=100)
    turns = torch.tensor([16.0, 4.0, 2.5, 1.0, 0.5])
    rates = turns * 2 * math.pi / 100
    wanted = [1.0, 1.0, 0.5 + 0.5 / 8, 1 / 8, 1 / 8]
    torch.testing.assert_close(scaling.slowed(rates) / rates, torch.tensor(wanted))
    plain, slow = (rotary_table(torch.tensor([5]), 4, 100.0, s) for s in (None, scaling))
    assert not torch.equal(plain[0], slow[0])


def test_places_begin_anew_in_every_segment() -> None:
    segments = torch.tensor([[0, 0, 1, 1, 1, -1], [-1, -1, 0, 0, 0, 0], [0] * 6])
    wanted = [[0, 1, 0, 1, 2, 0], [0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    assert places_in_segments(segments).tolist() == wanted
