"""How large a model the quickstart trains in the minutes it is given, on the machine it meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chatwright.runs import Run

_BYTES_PER_TOKEN_OF_VOCABULARY = 400
_SMALLEST_VOCABULARY = 512


@dataclass(frozen=True)
class Size:
    """Everything that scales with `minutes`."""

    vocab_size: int
    rounds: int
    pretrain_minutes: float
    sft_minutes: float
    pretrain: dict[str, Any] = field(default_factory=dict)
    sft: dict[str, Any] = field(default_factory=dict)
    own_text: dict[str, Any] = field(default_factory=dict)


def size_for(minutes: float) -> Size:
    """The sizes for that many minutes of training; how they were found stands in docs/LOG.md."""
    model = {
        "width": 192,
        "layers": 4,
        "heads": 6,
        "kv_heads": 3,
        "head_dim": 32,
        "feed_forward": 576,
        "context": 512,
    }
    return Size(
        vocab_size=4096,
        rounds=24,
        pretrain_minutes=minutes * 0.1,
        sft_minutes=minutes * 0.9,
        pretrain={"model": model, "context": 128, "batch_tokens": 2048},
        sft={"context": 128, "batch_tokens": 2048, "shuffle": False},
        own_text={"model": "qwen3-2m", "context": 256},
    )


def vocabulary_for(text: Run, size: Size) -> int:
    """A vocabulary that the text can fill: about a token for every 400 bytes, in steps of 64."""
    room = int(text.result["kept"]["bytes"]) // _BYTES_PER_TOKEN_OF_VOCABULARY
    return max(_SMALLEST_VOCABULARY, min(size.vocab_size, room // 64 * 64))
