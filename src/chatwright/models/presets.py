"""Sizes by name. Small ones are laid out for two CPU cores; from 0.6b on they are Qwen3's published shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.config import build
from chatwright.errors import UserError, did_you_mean
from chatwright.models.decoder import DecoderOptions

_PUBLISHED = {
    "head_dim": 128,
    "kv_heads": 8,
    "context": 40_960,
    "rope_theta": 1_000_000.0,
    "vocab_size": 151_936,
}


def _small(width: int, layers: int, head_dim: int, context: int = 1024) -> dict[str, Any]:
    heads = width // head_dim
    kv_heads = heads // 2 if heads % 2 == 0 else heads
    shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    return {**shape, "feed_forward": 3 * width, "context": context}


PRESETS: dict[str, dict[str, Any]] = {
    "qwen3-1m": _small(128, 5, 32),
    "qwen3-2m": _small(192, 4, 32),
    "qwen3-5m": _small(256, 6, 64),
    "qwen3-15m": _small(384, 8, 64),
    "qwen3-50m": _small(576, 12, 64, context=2048),
    "qwen3-120m": _small(768, 16, 64, context=2048),
    "qwen3-350m": _small(1152, 22, 64, context=4096),
    "qwen3-0.6b": {"width": 1024, "layers": 28, "heads": 16, "feed_forward": 3072, **_PUBLISHED},
    "qwen3-1.7b": {"width": 2048, "layers": 28, "heads": 16, "feed_forward": 6144, **_PUBLISHED},
    "qwen3-4b": {"width": 2560, "layers": 36, "heads": 32, "feed_forward": 9728, **_PUBLISHED},
    "qwen3-8b": {
        "width": 4096,
        "layers": 36,
        "heads": 32,
        "feed_forward": 12_288,
        "tied": False,
        **_PUBLISHED,
    },
}


def decoder_options(model: Mapping[str, Any], vocab_size: int | None = None) -> DecoderOptions:
    """The shape for `model=qwen3-5m` or `{"name": "qwen3-5m", "layers": 4}`; unnamed fields come from the preset.

    `vocab_size`: the tokenizer's, which always wins over the preset's.
    """
    fields = dict(model)
    name = str(fields.pop("name", "qwen3-5m"))
    if name not in PRESETS:
        raise UserError(f"unknown model {name!r}{did_you_mean(name, PRESETS)}")
    if vocab_size is not None:
        fields["vocab_size"] = vocab_size
    return build(DecoderOptions, {**PRESETS[name], **fields}, "model")
