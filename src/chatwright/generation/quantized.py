"""Weights as integers of eight or four bits, by groups of inputs: what decoding reads is what it costs.

A group of eight bits is symmetric and has a scale; one of four bits has a scale and a least value, because sixteen levels
are too few to waste some. Scales are bfloat16 before anything is rounded by them, so that they add no error of their own.

Shape suffixes: O outputs, I inputs, G groups, N inputs of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Bits = Literal[8, 4]

GROUP = 32  # inputs, as in the native source
_MIDDLE = 128


@dataclass(frozen=True)
class Quantized:
    """A matrix in integers: weight = scale · level + least, with `least` = −128 · scale for eight bits.

    levels: [O, G, N] uint8. scales, least: [O, G] bfloat16; `least` is None for eight bits. The inputs are padded to
    whole groups.
    """

    bits: Bits
    inputs: int
    levels: Tensor
    scales: Tensor
    least: Tensor | None

    def dequantized(self) -> Tensor:
        """[O, I] float32."""
        levels, scales_OG1 = self.levels.float(), self.scales.float()[..., None]
        if self.least is None:
            values = (levels - _MIDDLE) * scales_OG1
        else:
            values = levels * scales_OG1 + self.least.float()[..., None]
        return values.flatten(1)[:, : self.inputs]


def quantized(weight_OI: Tensor, bits: Bits) -> Quantized:
    """Round a matrix to integers of `bits` bits."""
    inputs = weight_OI.size(1)
    groups_OGN = F.pad(weight_OI.float(), (0, -inputs % GROUP)).view(len(weight_OI), -1, GROUP)
    if bits == 8:
        scales = _scale(groups_OGN.abs().amax(dim=-1) / (_MIDDLE - 1))
        levels = (groups_OGN / scales.float()[..., None]).round_().clamp_(1 - _MIDDLE, _MIDDLE - 1)
        return Quantized(bits, inputs, (levels + _MIDDLE).to(torch.uint8), scales, None)
    least = groups_OGN.amin(dim=-1).bfloat16()
    above_OGN = groups_OGN - least.float()[..., None]
    scales = _scale(above_OGN.amax(dim=-1) / 15)
    levels = (above_OGN / scales.float()[..., None]).round_().clamp_(0, 15)
    return Quantized(bits, inputs, levels.to(torch.uint8), scales, least)


def _scale(scales: Tensor) -> Tensor:
    """As stored; a group of equal weights has any scale but 0."""
    return torch.where(scales > 0, scales, 1.0).bfloat16()


@dataclass(frozen=True)
class Rows:
    """A matrix in integers as PyTorch multiplies it: levels [O, I] int8, with one scale an output, [O] bfloat16."""

    levels: Tensor
    scales: Tensor

    @classmethod
    def of(cls, matrix_IO: Tensor) -> Rows:
        """Round a matrix that stands [in, out]."""
        weight_OI = matrix_IO.t().float()
        scales = _scale(weight_OI.abs().amax(dim=1) / (_MIDDLE - 1))
        levels = (weight_OI / scales.float()[:, None]).round_().clamp_(1 - _MIDDLE, _MIDDLE - 1)
        return cls(levels.to(torch.int8).contiguous(), scales)

    def times(self, x_NI: Tensor) -> Tensor:
        """x: [N, I] bfloat16 → [N, O]."""
        product: Tensor = torch._weight_int8pack_mm(x_NI, self.levels, self.scales)
        return product
