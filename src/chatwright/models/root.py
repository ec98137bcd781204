"""What training, planning and publishing need of a model that is trained: the base of every architecture."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Root(nn.Module):
    """A model that is trained by itself: `root(inputs, targets=…, outputs=(…))`.

    `compute_dtype` is the type of the activations, `kernel` the attention kernel; both come from the plan.
    """

    options: Any
    compute_dtype: torch.dtype
    kernel: str

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the first weights."""
        raise NotImplementedError

    def compilable(self) -> list[nn.Module]:
        """The repeated parts: compiling one compiles them all."""
        raise NotImplementedError

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Operations of the forward pass a position, in rows of `length`; `learnt`: the share that goes through the
        language head."""
        raise NotImplementedError


class OverTrunk(Root):
    """A root whose work a trunk does, under heads of its own: it computes as its trunk is told to."""

    trunk: Root

    @property
    def compute_dtype(self) -> torch.dtype:
        return self.trunk.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype) -> None:
        self.trunk.compute_dtype = dtype

    @property
    def kernel(self) -> str:
        return self.trunk.kernel

    @kernel.setter
    def kernel(self, kernel: str) -> None:
        self.trunk.kernel = kernel

    def compilable(self) -> list[nn.Module]:
        return self.trunk.compilable()
