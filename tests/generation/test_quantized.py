"""Rounding to integers: known answers, and errors of half a step."""

from __future__ import annotations

import pytest
import torch

from chatwright.generation.quantized import GROUP, Bits, Rows, quantized


def test_levels_of_eight_bits_are_symmetric() -> None:
    weight = torch.zeros(2, 64)
    weight[0, :3] = torch.tensor([-127.0, 1.0, 63.0])
    made = quantized(weight, 8)
    assert made.levels[0, 0, :4].tolist() == [1, 129, 191, 128]
    assert made.scales.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert torch.equal(made.dequantized(), weight)


def test_levels_of_four_bits_begin_at_the_least_value() -> None:
    weight = torch.arange(32.0)[None].clamp(max=15) * 2 - 8
    made = quantized(weight, 4)
    assert made.levels[0, 0, :16].tolist() == list(range(16))
    assert made.scales.item() == 2 and made.least is not None and made.least.item() == -8
    assert torch.equal(made.dequantized(), weight)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("inputs", [1, 40, 64, 200])
def test_no_weight_is_off_by_more_than_its_step(bits: Bits, inputs: int) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(37, inputs, generator=draw) * torch.logspace(-3, 3, 37)[:, None]
    made = quantized(weight, bits)
    assert made.levels.shape == (37, -(-inputs // GROUP), GROUP)
    assert int(made.levels.max()) <= (255 if bits == 8 else 15)
    steps = made.scales.float().repeat_interleave(GROUP, dim=1)[:, :inputs]
    # half a step, and at the ends what rounding the scale took away
    assert ((made.dequantized() - weight).abs() <= 0.8 * steps).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_equal_weights_and_zeros_are_kept(bits: Bits) -> None:
    weight = torch.stack((torch.zeros(70), torch.full((70,), 0.5)))
    found = quantized(weight, bits).dequantized()
    torch.testing.assert_close(found, weight, atol=0, rtol=5e-3)


def test_rows_multiply_as_their_matrix_does() -> None:
    draw = torch.Generator().manual_seed(0)
    matrix, x = torch.randn(64, 32, generator=draw), torch.randn(3, 64, generator=draw)
    found = Rows.of(matrix).times(x.bfloat16()).float()
    assert (found - x @ matrix).norm() / (x @ matrix).norm() < 0.02
