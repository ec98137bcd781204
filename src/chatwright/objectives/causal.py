"""Next token: GPT's objective (Radford et al. 2018, equation 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.packing import IGNORE, Packed
from chatwright.data.records import Document
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.root import Root
from chatwright.objectives.contract import Batch, Roots

M = TypeVar("M", bound=Root)


@dataclass(frozen=True)
class CausalOptions:
    """Predict every token from those before it."""

    within_documents: bool = option(True, "attention stays inside a document when several share a row")
    expert_balance: float = option(
        0.0,
        "weight of an even use of experts within each row, for a model that has experts; 0.01 keeps all in use",
    )

    def __post_init__(self) -> None:
        if not self.expert_balance >= 0:
            raise UserError(f"objective.expert_balance={self.expert_balance:g} must be 0 (none) or more")


class Causal:
    """Next-token prediction (Radford et al. 2018): the sum of −log p(token | tokens before it), over real tokens.

    With `expert_balance` also how unevenly each row that learns uses the experts, summed over layers (DeepSeek-AI 2024).
    """

    record: type = Document
    Options = CausalOptions
    fits: ClassVar[tuple[type[Root], ...]] = (Decoder,)

    def __init__(self, options: CausalOptions = CausalOptions()) -> None:
        self.within_documents = options.within_documents
        self.expert_balance = options.expert_balance

    def prepare(self, record: Packed, rng: np.random.Generator) -> Packed:
        return record

    def collate(self, rows: Sequence[Packed]) -> Batch:
        stacked = {
            "inputs": torch.from_numpy(np.stack([row.inputs for row in rows])),
            "targets": torch.from_numpy(np.stack([row.targets for row in rows])),
        }
        positions = [row.positions for row in rows if row.positions is not None]
        if positions:
            stacked["positions"] = torch.from_numpy(np.stack(positions))
        segments = torch.from_numpy(np.stack([row.segments for row in rows]))
        if self.within_documents:
            stacked["segments"] = segments
        return Batch(stacked, tokens=int((segments >= 0).sum()))

    def counts(self, batch: Batch) -> dict[str, int]:
        learnt = batch["targets"] != IGNORE
        counts = {"next_token": int(learnt.sum())}
        return counts | ({"expert_balance": int(learnt.any(dim=1).sum())} if self.expert_balance else {})

    def weights(self, step: int) -> dict[str, float]:
        return {"next_token": 1.0} | ({"expert_balance": self.expert_balance} if self.expert_balance else {})

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        policy, targets = roots["policy"], batch["targets"]
        where = {name: batch.tensors.get(name) for name in ("segments", "positions")}
        if not self.expert_balance:
            logprobs = policy(batch["inputs"], targets=targets, **where)["logprobs"]
            yield {"next_token": -logprobs.sum()}
            return
        if getattr(policy.options, "routing", None) is None:
            raise UserError(
                f"objective.expert_balance={self.expert_balance:g} needs a model with experts, as qwen3-moe-5m"
            )
        found = policy(batch["inputs"], targets=targets, **where, outputs=("logprobs", "balance"))
        learns_B = (targets != IGNORE).any(dim=1)
        balance = (found["balance"] * learns_B).sum()
        yield {"next_token": -found["logprobs"].sum(), "expert_balance": balance}

    def example(self) -> tuple[dict[str, nn.Module], list[Packed]]:
        return {"policy": tiny_decoder()}, example_rows(learnt_from=0)


def tiny_shape() -> DecoderOptions:
    """Two blocks over 64 tokens, for conformance tests."""
    return DecoderOptions(
        vocab_size=64, width=32, layers=2, heads=2, kv_heads=1, head_dim=16, feed_forward=48, context=32
    )


def tiny_decoder(seed: int = 0) -> Decoder:
    """A decoder for conformance tests."""
    model = Decoder(tiny_shape())
    generator = torch.Generator().manual_seed(seed)
    model.initialize(generator)
    return stir(model, generator)


def stir(model: M, generator: torch.Generator | None = None) -> M:
    """Draw the blocks' matrices anew: blocks that begin as the identity would hide what their parts do."""
    generator = generator or torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in model.compilable():
            for parameter in block.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0.0, 0.15, generator=generator)
    return model


def example_rows(learnt_from: int, count: int = 12, length: int = 24) -> list[Packed]:
    """Rows of two documents and padding, of uneven real lengths; the first `learnt_from` tokens of each document
    carry no target."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        real, first = int(rng.integers(12, length)), int(rng.integers(4, 9))
        tokens = rng.integers(0, 60, real + 1)
        segments = np.where(np.arange(length) < first, 0, 1).astype(np.int32)
        segments[real:] = -1
        inputs, targets = np.full(length, 63), np.full(length, IGNORE)
        inputs[:real], targets[:real] = tokens[:-1], tokens[1:]
        targets[:learnt_from] = targets[first : first + learnt_from] = IGNORE
        rows.append(Packed(inputs.astype(np.int64), targets.astype(np.int64), segments))
    return rows
