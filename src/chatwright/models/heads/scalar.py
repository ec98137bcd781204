"""The scalar head: a few numbers for every position, for rewards and values.

Shape suffixes: B batch, T length, W width, K numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ScalarHead(nn.Module):
    """`score = W h`, in float32 whatever the activations' type: differences of rewards are small."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(numbers, width))

    def forward(self, hidden_BTW: Tensor) -> Tensor:
        """[B, T, W] in the compute type to [B, T, K] float32."""
        return F.linear(hidden_BTW.float(), self.weight)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Deviation 1 / √(W + 1) (Stiennon et al. 2020, section 3.3 and appendix B)."""
        width = self.weight.size(1)
        self.weight.normal_(0.0, (width + 1) ** -0.5, generator=generator)
