"""How large a model the quickstart trains in the minutes it is given, on the machine it meets.

The sizes were found by trials at several budgets; they stand in docs/LOG.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chatwright.config import build, dumps, read_file
from chatwright.errors import UserError
from chatwright.files import atomic_write, writing
from chatwright.runs import Run
from chatwright.training.machine import fastest_precision

# Share of the matrix-product rate that training reaches; share of the chats' positions that carry a target.
_REACHED = 0.4
_LEARNT_SHARE = 0.4
_TOKENS_A_ROUND = 170_000
_FEWEST_ROUNDS, _MOST_ROUNDS = 8, 64
# However slow the machine seemed when it was measured: a busy moment should not leave a quick hour without chats.
_ROUNDS_A_MINUTE = 3.5
_PRETRAIN_SHARE = 0.06
# Alignment takes its minutes on top of training's: at most four to six of them.
_REWARD_SHARE, _PPO_SHARE = 0.1, 0.5
_REPLY_TOKENS = 48
_REWARD = {
    "confidence": True,
    "trunk": "frozen",
    "batch": 32,
    "learning_rate": 0.01,
    "optimizer.weight_decay": 0.0,
    "schedule.decay": 1.0,
}
_PPO = {
    "value": "policy",
    "samples": 256,
    "minibatches": 4,
    "learning_rate": 0.0007,
    "objective.ptx": 1.0,
    "kl.coefficient": 0.01,
    "unfinished": -3.0,
    "eval_every": 32,
    "validation_prompts": 900,
}
_BYTES_PER_TOKEN_OF_VOCABULARY = 400
_SMALLEST_VOCABULARY = 512

# From so many floating-point operations on, the next larger model learns more in the same time: width, layers and inner
# width of the feed-forward part. Facts that are looked up by a name want few layers and many rounds, a text wants depth;
# saying a name back takes two layers, and one table for reading and writing.
_FACTS = (
    (0.0, 128, 2, 256),
    (5e12, 192, 2, 256),
    (80e12, 256, 2, 512),
    (300e12, 256, 3, 768),
    (1e15, 384, 4, 1024),
)
_TEXT = ((0.0, 128, 2, 320), (5e12, 192, 4, 512), (40e12, 256, 6, 704), (1e15, 384, 8, 1024))
_HEAD_DIM = 32


@dataclass(frozen=True)
class Size:
    """Everything that scales with the minutes and with the machine."""

    vocab_size: int
    rounds: int
    pretrain_minutes: float
    sft_minutes: float
    reward_minutes: float
    ppo_minutes: float
    reply_tokens: int
    model: dict[str, Any]
    text_model: dict[str, Any]
    pretrain: dict[str, Any]
    sft: dict[str, Any]
    reward: dict[str, Any]
    ppo: dict[str, Any]


def kept_size(place: Path, minutes: float) -> Size:
    """The sizes of the journey in `place`: measured once and written down, so that it can be resumed on a busy day."""
    path = place / "size.json"
    if not path.exists():
        size = size_for(minutes)
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        atomic_write(path, dumps({"minutes": minutes, "size": size}))
        return size
    kept = read_file(path)
    if kept["minutes"] != minutes:
        raise UserError(
            f"{place} is a journey of minutes={kept['minutes']:g}, not {minutes:g}; give a new -o"
        )
    return build(Size, kept["size"], str(path))


def size_for(minutes: float) -> Size:
    """The sizes for that many minutes of training here."""
    _, rates = fastest_precision(torch.device("cpu"))
    return size_of(minutes, max(rates.values()))


def size_of(minutes: float, matmul_flops: float) -> Size:
    """The sizes for that many minutes at that rate of matrix products, in FLOP/s."""
    flops = minutes * 60 * matmul_flops * _REACHED
    model, text_model = _shape(_FACTS, flops), _shape(_TEXT, flops)
    vocab_size, width = 8192, model["width"]
    matrices = model["layers"] * (3 * width * model["feed_forward"] + 3 * width**2)
    tokens = flops / (6 * (matrices + _LEARNT_SHARE * width * vocab_size))
    # Some to spare: a run that came to the end of its chats would begin again with the plain ones.
    rounds = round(tokens * (1 - _PRETRAIN_SHARE) / _TOKENS_A_ROUND)
    rows = {
        "context": 128,
        "batch_tokens": 1024,
        "schedule.decay": 1.0,
        "optimizer.table_rate": 0.015,
        "optimizer.momentum": 0.9,
        "optimizer.beta1": 0.8,
    }
    return Size(
        vocab_size=vocab_size,
        rounds=min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, round(_ROUNDS_A_MINUTE * minutes), rounds)),
        pretrain_minutes=minutes * _PRETRAIN_SHARE,
        sft_minutes=minutes * (1 - _PRETRAIN_SHARE),
        model=model,
        text_model=text_model,
        pretrain=rows,
        reward_minutes=minutes * _REWARD_SHARE,
        ppo_minutes=minutes * _PPO_SHARE,
        reply_tokens=_REPLY_TOKENS,
        sft={**rows, "shuffle": False, "objective.stretch": 14},
        reward=_REWARD,
        ppo=_PPO,
    )


def _shape(models: Sequence[tuple[float, int, int, int]], flops: float) -> dict[str, Any]:
    width, layers, feed_forward = next(shape for least, *shape in reversed(models) if flops >= least)
    heads = width // _HEAD_DIM
    shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": heads // 2, "head_dim": _HEAD_DIM}
    return {**shape, "feed_forward": feed_forward, "context": 512}


def vocabulary_for(text: Run, size: Size) -> int:
    """A vocabulary that the text can fill: about a token for every 400 bytes, in steps of 64."""
    room = int(text.result["kept"]["bytes"]) // _BYTES_PER_TOKEN_OF_VOCABULARY
    return max(_SMALLEST_VOCABULARY, min(size.vocab_size, room // 64 * 64))
