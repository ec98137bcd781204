"""How large a model the quickstart trains in the minutes it is given, on the machine it meets.

The sizes were found by trials at several budgets; they stand in docs/LOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from chatwright.models.presets import decoder_options
from chatwright.runs import Run
from chatwright.training.machine import fastest_precision

# Share of the matrix-product rate that training reaches; share of the chats' positions that carry a target.
_REACHED = 0.6
_TOKENS_A_ROUND = 160_000
_FEWEST_ROUNDS, _MOST_ROUNDS = 6, 48
_PRETRAIN_SHARE = 0.06
_BYTES_PER_TOKEN_OF_VOCABULARY = 400
_SMALLEST_VOCABULARY = 512

_TINY = {
    "width": 128,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "feed_forward": 384,
    "context": 512,
}
_SMALL = {
    "width": 192,
    "layers": 4,
    "heads": 6,
    "kv_heads": 2,
    "head_dim": 32,
    "feed_forward": 512,
    "context": 512,
}
_MEDIUM = {
    "width": 256,
    "layers": 4,
    "heads": 8,
    "kv_heads": 4,
    "head_dim": 32,
    "feed_forward": 768,
    "context": 512,
}
_LARGE = {
    "width": 256,
    "layers": 6,
    "heads": 8,
    "kv_heads": 4,
    "head_dim": 32,
    "feed_forward": 768,
    "context": 512,
}
# From so many floating-point operations on, the next larger model learns more in the same time.
_MODELS = ((0.0, _TINY), (8e12, _SMALL), (60e12, _MEDIUM), (200e12, _LARGE))


@dataclass(frozen=True)
class Size:
    """Everything that scales with the minutes and with the machine."""

    vocab_size: int
    rounds: int
    pretrain_minutes: float
    sft_minutes: float
    model: dict[str, Any]
    pretrain: dict[str, Any]
    sft: dict[str, Any]


def size_for(minutes: float) -> Size:
    """The sizes for that many minutes of training here."""
    _, rates = fastest_precision(torch.device("cpu"))
    return size_of(minutes, max(rates.values()))


def size_of(minutes: float, matmul_flops: float) -> Size:
    """The sizes for that many minutes at that rate of matrix products, in FLOP/s."""
    flops = minutes * 60 * matmul_flops * _REACHED
    model = next(shape for least, shape in reversed(_MODELS) if flops >= least)
    vocab_size = 8192
    shape = decoder_options({**model, "vocab_size": vocab_size})
    matrices = shape.layers * (3 * shape.width * shape.feed_forward + 2 * shape.width**2)
    tokens = flops / (6 * (matrices + 0.4 * shape.width * vocab_size))
    rounds = round(tokens * (1 - _PRETRAIN_SHARE) / _TOKENS_A_ROUND) + 1
    rows = {"context": 128, "batch_tokens": 1024, "schedule.decay": 1.0, "optimizer.newton_schulz_steps": 3}
    return Size(
        vocab_size=vocab_size,
        rounds=min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, rounds)),
        pretrain_minutes=minutes * _PRETRAIN_SHARE,
        sft_minutes=minutes * (1 - _PRETRAIN_SHARE),
        model=model,
        pretrain=rows,
        sft={**rows, "shuffle": False, "objective.stretch": 14},
    )


def vocabulary_for(text: Run, size: Size) -> int:
    """A vocabulary that the text can fill: about a token for every 400 bytes, in steps of 64."""
    room = int(text.result["kept"]["bytes"]) // _BYTES_PER_TOKEN_OF_VOCABULARY
    return max(_SMALLEST_VOCABULARY, min(size.vocab_size, room // 64 * 64))
