"""Qwen2 (Yang et al. 2024) and Qwen2.5 (Qwen Team 2024), which have one shape.

New in it: Llama's parts with biases at queries, keys and values, which help it beyond the length it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.models.decoder import Decoder, DecoderOptions, Parts
from chatwright.models.family.architecture import Architecture, PublicFormat, require, rope_theta
from chatwright.models.family.llama import line_config, line_shape
from chatwright.models.family.qwen3 import LLAMA_LINE, small
from chatwright.models.interop.renaming import renamed

BIASES = renamed(
    {
        f"blocks.{{}}.attention.{ours}.bias": f"model.layers.{{}}.self_attn.{public}_proj.bias"
        for ours, public in (("query", "q"), ("key", "k"), ("value", "v"))
    }
)


@dataclass(frozen=True)
class Qwen2Options(DecoderOptions):
    """The shape of a Qwen2."""

    architecture: ClassVar[str] = "qwen2"
    parts: ClassVar[Parts] = Parts(normed_heads=False, bias="qkv")


def config(options: DecoderOptions) -> dict[str, Any]:
    return {**line_config(options), "use_sliding_window": False, "max_window_layers": options.layers}


def options(found: Mapping[str, Any], place: str) -> Qwen2Options:
    require(found, place, hidden_act=("silu",), use_sliding_window=(False,))
    return Qwen2Options(**line_shape(found, place), rope_theta=rope_theta(found, place))


def _published(
    width: int, layers: int, heads: int, kv_heads: int, feed_forward: int, **more: Any
) -> dict[str, Any]:
    shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads, "head_dim": 0}
    return {**shape, "feed_forward": feed_forward, "rope_theta": 1_000_000.0, **more}


_SMALL = {"vocab_size": 151_936, "context": 32_768}
_LARGE = {"vocab_size": 152_064, "context": 131_072, "tied": False}

QWEN2 = Architecture(
    name="qwen2",
    options=Qwen2Options,
    root=Decoder,
    presets={
        "qwen2-1m": small(128, 3, 32),
        "qwen2-5m": small(256, 5, 64),
        "qwen2-15m": small(384, 8, 64),
        "qwen2-50m": small(576, 12, 64, context=2048),
        "qwen2-0.5b": _published(896, 24, 14, 2, 4864, **_SMALL),
        "qwen2-1.5b": _published(1536, 28, 12, 2, 8960, **_SMALL),
        "qwen2-7b": _published(3584, 28, 28, 4, 18_944, **_LARGE),
        "qwen2-72b": _published(8192, 80, 64, 8, 29_568, **_LARGE),
        "qwen2.5-0.5b": _published(896, 24, 14, 2, 4864, **_SMALL),
        "qwen2.5-1.5b": _published(1536, 28, 12, 2, 8960, **_SMALL),
        "qwen2.5-3b": _published(2048, 36, 16, 2, 11_008, **_SMALL),
        "qwen2.5-7b": _published(3584, 28, 28, 4, 18_944, **_LARGE),
        "qwen2.5-14b": _published(5120, 48, 40, 8, 13_824, norm_eps=1e-5, **_LARGE),
        "qwen2.5-32b": _published(5120, 64, 40, 8, 27_648, norm_eps=1e-5, **_LARGE),
        "qwen2.5-72b": _published(8192, 80, 64, 8, 29_568, norm_eps=1e-5, **_LARGE),
    },
    public=PublicFormat(
        model_type="qwen2",
        class_name="Qwen2ForCausalLM",
        classifier="Qwen2ForSequenceClassification",
        weights=(*LLAMA_LINE, *BIASES),
        config=config,
        options=options,
    ),
)
