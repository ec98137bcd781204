"""Permutation language modelling: a text is predicted in a random order (Yang et al. 2019, section 2.3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.config import at_least, option
from chatwright.data.packing import IGNORE, PADDING, Packed
from chatwright.data.records import Document
from chatwright.models.root import Root
from chatwright.models.xlnet import XLNet, XLNetOptions
from chatwright.objectives.causal import example_rows, stir
from chatwright.objectives.contract import Batch, Roots


@dataclass(frozen=True)
class PermutationOptions:
    """Predict the end of a random order from what comes before it in that order."""

    share: int = option(6, "K: one in so many tokens is predicted, the last ones of the order")
    span: int = option(1, "longest run of neighbours that are predicted together; 1: each token by itself")
    memory: int = option(
        0, "positions of a row's first half that its second half reads as memories; 0: rows are whole"
    )
    within_documents: bool = option(True, "attention stays inside a document when several share a row")

    def __post_init__(self) -> None:
        at_least(self, 1, "share", "span", group="objective.")
        at_least(self, 0, "memory", group="objective.")


@dataclass(frozen=True)
class Permuted:
    """A row of T positions and its order: `order` int64[T], 0 where a token is known from the start, else its turn to
    be predicted, from 1."""

    row: Packed
    order: NDArray[np.int64]

    def blank(self) -> Permuted:
        """A row of this shape that counts nothing."""
        return Permuted(self.row.blank(), np.zeros_like(self.order))


class Permutation:
    """The sum of −log p(token | tokens before it in a random order), over the last 1/K of the order (Yang et al. 2019,
    section 2.3, equation 5).

    The tokens that are not predicted come first, so all of them see each other: what they say of a target is the same
    distribution, whatever their own order. A document in a row is predicted from its own tokens only; its order is the
    row's. With `memory` a row is two segments: the second reads the hidden states of the first, through which no
    gradient flows (Dai et al. 2019, section 3.2).

    A row that comes without an order, in evaluation, gets one that is always the same.
    """

    record: type = Document
    Options = PermutationOptions
    fits: ClassVar[tuple[type[Root], ...]] = (XLNet,)
    accuracies: ClassVar[tuple[str, ...]] = ("permutation",)

    def __init__(self, options: PermutationOptions = PermutationOptions()) -> None:
        self.options = options

    def prepare(self, record: Packed, rng: np.random.Generator) -> Permuted:
        """Draw an order for each segment of the row."""
        order = np.zeros(len(record.inputs), dtype=np.int64)
        for part in self._parts(len(order)):
            places = np.flatnonzero(record.segments[part] != PADDING)
            order[part][places] = drawn_order(len(places), self.options.share, self.options.span, rng)
        return Permuted(record, order)

    def _parts(self, length: int) -> list[slice]:
        """The segments of a row: all of it, or two halves."""
        if not self.options.memory or length < 2:
            return [slice(0, length)]
        return [slice(0, length // 2), slice(length // 2, length)]

    def collate(self, rows: Sequence[Permuted | Packed]) -> Batch:
        ordered = [self._ordered(row) for row in rows]
        inputs = np.stack([row.row.inputs for row in ordered])
        order = np.stack([row.order for row in ordered])
        segments = np.stack([row.row.segments for row in ordered])
        tensors = {
            "inputs": inputs,
            "targets": np.where(order > 0, inputs, IGNORE),
            "order": order,
            "segments": segments,
        }
        if not self.options.within_documents:
            # of the same document or of another is then what the relative segment encodings say
            tensors |= {"segments": np.where(segments == PADDING, PADDING, 0), "types": segments}
        stacked = {name: torch.from_numpy(values) for name, values in tensors.items()}
        return Batch(stacked, tokens=int((segments != PADDING).sum()))

    def _ordered(self, row: Permuted | Packed) -> Permuted:
        if isinstance(row, Permuted):
            return row
        return self.prepare(row, np.random.default_rng(zlib.crc32(row.inputs.tobytes())))

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"permutation": int((batch["targets"] != IGNORE).sum())}

    def weights(self, step: int) -> dict[str, float]:
        return {"permutation": 1.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        for found, _ in self._read(roots, batch, "logprobs"):
            yield {"permutation": -found["logprobs"].sum()}

    def shares(self, roots: Roots, batch: Batch) -> dict[str, tuple[Tensor, int]]:
        """How many targets have the highest logit, and how many there are."""
        right = [
            (found["logits"].argmax(-1) == targets).sum()
            for found, targets in self._read(roots, batch, "logits")
        ]
        return {"permutation": (torch.stack(right).sum(), self.counts(batch)["permutation"])}

    def _read(self, roots: Roots, batch: Batch, output: str) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """What the model gives for each segment of the rows, and the segment's targets."""
        policy, parts = roots["policy"], self._parts(batch["inputs"].size(1))
        given: dict[str, Tensor] = {}
        for part in parts:
            here = {name: tensor[:, part] for name, tensor in batch.tensors.items()}
            found = policy(
                here["inputs"],
                targets=here["targets"],
                segments=here["segments"],
                types=here.get("types"),
                permutation_mask=permutation_mask(here["order"]),
                outputs=(output, "memories") if part is not parts[-1] else (output,),
                **given,
            )
            yield found, here["targets"]
            if "memories" in found:
                kept = found["memories"][:, :, -self.options.memory :]
                known = {
                    name: here[name][:, -kept.size(2) :] for name in ("segments", "types") if name in here
                }
                given = {"memories": kept, **{f"memory_{name}": ids for name, ids in known.items()}}

    def example(self) -> tuple[dict[str, nn.Module], list[Packed]]:
        """Rows of four words, so that there is something to learn."""
        rows = example_rows(learnt_from=0)
        few = [
            replace(row, inputs=np.where(row.segments == PADDING, row.inputs, row.inputs % 4)) for row in rows
        ]
        return {"policy": tiny_xlnet()}, few


def drawn_order(count: int, share: int, span: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of `count` tokens: 0 for those that come before the last 1 / `share`, then 1, 2, 3 …

    At least one token is predicted. The predicted ones are whole runs of up to `span` neighbours, but for one that is
    cut to fit; their turns are shuffled.
    """
    targets = max(1, count // share) if count else 0
    if span == 1:
        chosen = rng.permutation(count)[count - targets :]
    else:
        lengths = rng.integers(1, span + 1, count)
        runs = np.split(np.arange(count), np.cumsum(lengths)[np.cumsum(lengths) < count])
        shuffled = np.concatenate([runs[index] for index in rng.permutation(len(runs))])
        chosen = rng.permutation(shuffled[:targets])
    order = np.zeros(count, dtype=np.int64)
    order[chosen] = np.arange(1, targets + 1)
    return order


def permutation_mask(order_BT: Tensor) -> Tensor:
    """True where position i may see position j: j is known from the start, or has its turn before i. [B, T, T]."""
    turn_B1T = order_BT[:, None, :]
    return (turn_B1T == 0) | (turn_B1T < order_BT[:, :, None])


def tiny_xlnet(seed: int = 0) -> XLNet:
    """An XLNet for conformance tests: two blocks over 64 tokens."""
    model = XLNet(XLNetOptions(vocab_size=64, width=32, layers=2, heads=2, feed_forward=48))
    generator = torch.Generator().manual_seed(seed)
    model.initialize(generator)
    return stir(model, generator)
