"""The confidence head: what it says about a reply that the language model itself found it likely.

Whether a model knows what it says shows in its own probabilities before it shows in any direction of its hidden states
(Kadavath et al. 2022): the softmax compares a prediction with the whole vocabulary, and no linear head can.

Shape suffixes: B batch, T length, F features, H hidden units, K numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_UNITS = 16
_FEATURES = 6
_LEAST = 1e-3


class ConfidenceHead(nn.Module):
    """A small network over the mean, least and first log-probability of a reply's tokens, each plain and as a logarithm."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.empty(_UNITS, _FEATURES))
        self.shift = nn.Parameter(torch.empty(_UNITS))
        self.outer = nn.Parameter(torch.empty(numbers, _UNITS))

    def forward(self, logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """[B, K] float32; `mask` is true at the tokens of the reply, whose log-probabilities `logprobs` holds."""
        features_BF = confidence_features(logprobs_BT.float(), mask_BT)
        return F.silu(features_BF @ self.inner.T + self.shift) @ self.outer.T

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """The network begins as zero, whatever the reply."""
        self.inner.normal_(0.0, 0.5, generator=generator)
        self.shift.zero_()
        self.outer.zero_()


def confidence_features(logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """[B, 6]: mean, least and first log-probability over the mask, and the logarithm of how far each is from 0.

    A row without a token in the mask has zeros. Every feature is about as large as 1.
    """
    count_B = mask_BT.sum(1)
    masked_BT = logprobs_BT * mask_BT
    first_B = masked_BT.gather(1, mask_BT.int().argmax(1, keepdim=True)).squeeze(1)
    plain = torch.stack([masked_BT.sum(1) / count_B.clamp(min=1), masked_BT.amin(1), first_B], dim=1)
    features_BF = torch.cat([plain.clamp(min=-10) / 3, (_LEAST - plain).log() / 3], dim=1)
    return features_BF * (count_B > 0)[:, None]
