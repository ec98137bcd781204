"""Likelihood of held-out text: cross-entropy and bits per byte, each token scored once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from chatwright.data.packing import IGNORE, Packed, Rows
from chatwright.distributed.launch import World
from chatwright.objectives.contract import Batch, Objective


@dataclass(frozen=True)
class Likelihood:
    """Sums over scored targets. `bytes` counts the text that the scored ordinary tokens stand for."""

    nats: float
    tokens: int
    ordinary_nats: float
    bytes: int

    @property
    def loss(self) -> float:
        """Mean nats a token, special tokens included."""
        return self.nats / max(1, self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of text, special tokens left out: comparable between tokenizers."""
        return self.ordinary_nats / math.log(2) / max(1, self.bytes)


@torch.no_grad()
def likelihood(
    model: nn.Module, batches: Iterable[Batch], token_bytes: np.ndarray, device: torch.device
) -> Likelihood:
    """Score the targets of all batches. token_bytes: [vocabulary], 0 for special tokens."""
    widths = torch.from_numpy(token_bytes.astype(np.int64)).to(device)
    nats = ordinary = 0.0
    tokens = size = 0
    for batch in (b.to(device) for b in batches):
        targets = batch["targets"]
        scored = targets != IGNORE
        logprobs = model(batch["inputs"], targets=targets, segments=batch.tensors.get("segments"))[
            "logprobs"
        ].double()
        width = torch.where(scored, widths[targets.clamp(min=0)], 0)
        nats -= float(logprobs.sum())
        ordinary -= float(logprobs[width > 0].sum())
        tokens += int(scored.sum())
        size += int(width.sum())
    return Likelihood(nats, tokens, ordinary, size)


def held_out_likelihood(
    model: nn.Module,
    objective: Objective[Packed],
    packing: Rows[Packed],
    kept_rows: int,
    rows_together: int,
    token_bytes: np.ndarray,
    world: World,
) -> Likelihood:
    """Score `kept_rows` rows, spread evenly over a held-out store, shared out over all processes."""
    total = packing.rows_in_epoch(0)
    chosen = np.unique(np.linspace(0, total - 1, min(kept_rows, total)).astype(int))
    share = chosen[world.rank :: world.size]
    batches = (
        objective.collate([packing.row(0, int(index)) for index in share[start : start + rows_together]])
        for start in range(0, len(share), rows_together)
    )
    found = likelihood(model, batches, token_bytes, world.device)
    summed = world.sum({f.name: getattr(found, f.name) for f in fields(Likelihood)})
    return Likelihood(summed["nats"], int(summed["tokens"]), summed["ordinary_nats"], int(summed["bytes"]))
