"""Llama (Touvron et al. 2023; Llama 2, 2023; Llama 3, Grattafiori et al. 2024): the shape that open models took over.

New in it: RMSNorm before each part, rotary positions and SwiGLU together, without biases; from Llama 2 70B on grouped
queries; from Llama 3.1 on rotary angles slowed down for a long context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions, Parts
from chatwright.models.family.architecture import (
    Architecture,
    PublicFormat,
    read_fields,
    require,
    rope_theta,
)
from chatwright.models.family.qwen3 import FIELDS, LLAMA_LINE, small
from chatwright.models.positions import RotaryScaling

# Ours to the public fields of the slower angles.
SCALING = {
    "rope_factor": "factor",
    "rope_low": "low_freq_factor",
    "rope_high": "high_freq_factor",
    "rope_context": "original_max_position_embeddings",
}


@dataclass(frozen=True)
class LlamaOptions(DecoderOptions):
    """The shape of a Llama."""

    architecture: ClassVar[str] = "llama"
    parts: ClassVar[Parts] = Parts(normed_heads=False)

    norm_eps: float = option(1e-5, "added to the mean square in normalization")
    rope_factor: float = option(
        1.0, "how many times slower the slow rotary angles become (Llama 3.1); 1: none"
    )
    rope_low: float = option(
        1.0, "angles that turn less often than this in rope_context tokens become slower"
    )
    rope_high: float = option(4.0, "angles that turn more often than this in rope_context tokens stay")
    rope_context: int = option(8192, "the context before the angles became slower")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "rope_factor", group="model.")
        if not 0 < self.rope_low < self.rope_high:
            raise UserError(
                f"model.rope_low={self.rope_low:g} must be more than 0 and less than "
                f"model.rope_high={self.rope_high:g}"
            )
        at_least(self, 1, "rope_context", group="model.")

    @property
    def scaling(self) -> RotaryScaling | None:
        if self.rope_factor == 1:
            return None
        return RotaryScaling(self.rope_factor, self.rope_low, self.rope_high, self.rope_context)


def line_config(options: DecoderOptions) -> dict[str, Any]:
    """What the configs of Llama and Qwen2 share."""
    return {
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "rope_theta": options.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": options.rope_theta},
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
    }


def line_shape(found: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Our fields from the config of a Llama or Qwen2, which may leave some out."""
    required = {
        name: public for name, public in FIELDS.items() if name not in ("kv_heads", "head_dim", "tied")
    }
    return {
        **read_fields(found, required, place),
        "kv_heads": found.get("num_key_value_heads") or 0,
        "head_dim": found.get("head_dim") or 0,
        "tied": bool(found.get("tie_word_embeddings", False)),
    }


def config(options: LlamaOptions) -> dict[str, Any]:
    fields = {**line_config(options), "attention_bias": False, "mlp_bias": False}
    if options.scaling is None:
        return fields
    scaling = {public: getattr(options, name) for name, public in SCALING.items()}
    scaling["rope_type"] = "llama3"
    parameters = {**scaling, "rope_theta": options.rope_theta}
    return {**fields, "rope_scaling": scaling, "rope_parameters": parameters}


def options(found: Mapping[str, Any], place: str) -> LlamaOptions:
    require(found, place, hidden_act=("silu",), attention_bias=(False,), mlp_bias=(False,))
    scaling = found.get("rope_scaling") or found.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type")) != "llama3":
        return LlamaOptions(**line_shape(found, place), rope_theta=rope_theta(found, place))
    theta = found.get("rope_theta") or scaling.get("rope_theta") or DecoderOptions.rope_theta
    return LlamaOptions(
        **line_shape(found, place), **read_fields(scaling, SCALING, place), rope_theta=float(theta)
    )


def _published(
    width: int, layers: int, heads: int, kv_heads: int, feed_forward: int, **more: Any
) -> dict[str, Any]:
    shape = {"width": width, "layers": layers, "heads": heads, "kv_heads": kv_heads, "head_dim": 0}
    return {**shape, "feed_forward": feed_forward, "tied": False, **more}


_LLAMA_2 = {"context": 4096, "vocab_size": 32_000}
_LLAMA_3 = {"context": 8192, "vocab_size": 128_256, "rope_theta": 500_000.0}
_LLAMA_3_1 = {**_LLAMA_3, "context": 131_072, "rope_factor": 8.0}
_LLAMA_3_2 = {**_LLAMA_3_1, "rope_factor": 32.0, "tied": True}

LLAMA = Architecture(
    name="llama",
    options=LlamaOptions,
    root=Decoder,
    presets={
        "llama-1m": small(128, 3, 32),
        "llama-5m": small(256, 5, 64),
        "llama-15m": small(384, 8, 64),
        "llama-50m": small(576, 12, 64, context=2048),
        "llama-2-7b": _published(4096, 32, 32, 32, 11_008, **_LLAMA_2),
        "llama-2-13b": _published(5120, 40, 40, 40, 13_824, **_LLAMA_2),
        "llama-2-70b": _published(8192, 80, 64, 8, 28_672, **_LLAMA_2),
        "llama-3-8b": _published(4096, 32, 32, 8, 14_336, **_LLAMA_3),
        "llama-3-70b": _published(8192, 80, 64, 8, 28_672, **_LLAMA_3),
        "llama-3.1-8b": _published(4096, 32, 32, 8, 14_336, **_LLAMA_3_1),
        "llama-3.1-70b": _published(8192, 80, 64, 8, 28_672, **_LLAMA_3_1),
        "llama-3.1-405b": _published(16_384, 126, 128, 8, 53_248, **_LLAMA_3_1),
        "llama-3.2-1b": _published(2048, 16, 32, 8, 8192, **_LLAMA_3_2),
        "llama-3.2-3b": _published(3072, 28, 24, 8, 8192, **_LLAMA_3_2),
    },
    public=PublicFormat(
        model_type="llama",
        class_name="LlamaForCausalLM",
        classifier="LlamaForSequenceClassification",
        weights=LLAMA_LINE,
        config=config,
        options=options,
        ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
    ),
)
