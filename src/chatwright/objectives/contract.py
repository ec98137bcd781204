"""The contract of every objective: sums and counts, never means.

The loop divides each term's sum by its global count, so that 1 process, 8 micro-batches and 2 ranks give the same
gradient whatever the rows' lengths. An objective that reduced a loss itself would weigh short rows too much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from torch import Tensor, nn

Roots = Mapping[str, nn.Module]


class Row(Protocol):
    """What a source serves: a row of packed text, or a group of replies."""

    def blank(self) -> Self:
        """A row of this shape that counts nothing."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Batch:
    """One micro-batch: tensors by name, and the number of input positions that are not padding."""

    tensors: Mapping[str, Tensor]
    tokens: int

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def to(self, device: Any) -> Batch:
        return Batch({name: tensor.to(device) for name, tensor in self.tensors.items()}, self.tokens)


class Objective(Protocol[R]):
    """What a training step minimizes. A term of weight 0 is a metric: it is counted and shown, and moves nothing."""

    record: type

    def prepare(self, record: R, rng: np.random.Generator) -> R:
        """Make every random choice for one row; `rng` is drawn from (seed, epoch, row)."""
        ...

    def collate(self, rows: Sequence[R]) -> Batch:
        """Stack rows into tensors; deterministic."""
        ...

    def counts(self, batch: Batch) -> dict[str, int]:
        """Each term's denominator, known before the forward pass; 0 is allowed."""
        ...

    def weights(self, step: int) -> dict[str, float]:
        """Each term's weight at a step."""
        ...

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """Each term's sum over the micro-batch, one mapping for each pass through the model."""
        ...

    def example(self) -> tuple[dict[str, nn.Module], list[R]]:
        """Roots and rows small enough for the conformance test."""
        ...
