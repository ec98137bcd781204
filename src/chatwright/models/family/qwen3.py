"""Qwen3 (technical report 2025, section 2): the default, because everything in the ecosystem runs its shape.

New in it: queries and keys are normalized in every head, which keeps attention scores in bounds without biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.family.architecture import (
    Architecture,
    PublicFormat,
    read_fields,
    require,
    rope_theta,
)
from chatwright.models.interop.renaming import Weight, renamed

FIELDS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "feed_forward": "intermediate_size",
    "context": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
}
# What every architecture of Llama's line shares.
LLAMA_LINE = renamed(
    {
        "embedding.weight": "model.embed_tokens.weight",
        "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
        "blocks.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
        "blocks.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
        "blocks.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
        "blocks.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
        "blocks.{}.feed_forward_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
        "blocks.{}.feed_forward.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
        "blocks.{}.feed_forward.up.weight": "model.layers.{}.mlp.up_proj.weight",
        "blocks.{}.feed_forward.down.weight": "model.layers.{}.mlp.down_proj.weight",
        "final_norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
)
NORMED_HEADS = (
    Weight("model.layers.{}.self_attn.q_norm.weight", ("blocks.{}.attention.query_norm.weight",)),
    Weight("model.layers.{}.self_attn.k_norm.weight", ("blocks.{}.attention.key_norm.weight",)),
)


def config(options: DecoderOptions) -> dict[str, Any]:
    return {
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "rope_theta": options.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": options.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "max_window_layers": options.layers,
        "initializer_range": 0.02,
        "use_cache": True,
    }


def options(found: Mapping[str, Any], place: str) -> DecoderOptions:
    require(found, place, hidden_act=("silu",), attention_bias=(False,), use_sliding_window=(False,))
    return DecoderOptions(**read_fields(found, FIELDS, place), rope_theta=rope_theta(found, place))


def small(width: int, layers: int, head_dim: int, context: int = 1024) -> dict[str, Any]:
    """A shape laid out for two processor cores: half as many key-value heads as heads."""
    heads = width // head_dim
    kv_heads = heads // 2 if heads % 2 == 0 else heads
    shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    return {**shape, "feed_forward": 3 * width, "context": context}


_PUBLISHED = {
    "head_dim": 128,
    "kv_heads": 8,
    "context": 40_960,
    "rope_theta": 1_000_000.0,
    "vocab_size": 151_936,
}

QWEN3 = Architecture(
    name="qwen3",
    options=DecoderOptions,
    root=Decoder,
    presets={
        "qwen3-1m": small(128, 5, 32),
        "qwen3-2m": small(192, 4, 32),
        "qwen3-5m": small(256, 6, 64),
        "qwen3-15m": small(384, 8, 64),
        "qwen3-50m": small(576, 12, 64, context=2048),
        "qwen3-120m": small(768, 16, 64, context=2048),
        "qwen3-350m": small(1152, 22, 64, context=4096),
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
    },
    public=PublicFormat(
        model_type="qwen3",
        class_name="Qwen3ForCausalLM",
        classifier="Qwen3ForSequenceClassification",
        weights=(*LLAMA_LINE, *NORMED_HEADS),
        config=config,
        options=options,
    ),
)
