"""Qwen3-MoE (Qwen3 technical report 2025, section 2): Qwen3 with a mixture of experts in every block.

New in it: many small experts without a shared one, of which a token takes a few; their use is balanced, here within each
sequence (DeepSeek-V3, 2024), so that no row of a batch depends on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.experts import Routing
from chatwright.models.family import qwen3
from chatwright.models.family.architecture import (
    Architecture,
    PublicFormat,
    read_fields,
    require,
    rope_theta,
)
from chatwright.models.interop.renaming import Weight

FIELDS = {
    **qwen3.FIELDS,
    "feed_forward": "moe_intermediate_size",
    "experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
    "normalized_shares": "norm_topk_prob",
}
_EXPERTS = (
    Weight("model.layers.{}.mlp.gate.weight", ("blocks.{}.feed_forward.router.weight",)),
    *(
        Weight(
            f"model.layers.{{}}.mlp.experts.{{}}.{part}_proj.weight",
            (f"blocks.{{}}.feed_forward.{part}.weight",),
            stacked=True,
        )
        for part in ("gate", "up", "down")
    ),
)


@dataclass(frozen=True)
class Qwen3MoeOptions(DecoderOptions):
    """The shape of a Qwen3 with experts."""

    architecture: ClassVar[str] = "qwen3-moe"

    feed_forward: int = option(256, "inner width of an expert; 0: four times the width")
    experts: int = option(8, "experts in a block")
    experts_per_token: int = option(2, "experts that a token goes through")
    normalized_shares: bool = option(True, "whether the shares of a token's experts add up to 1")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.experts_per_token <= self.experts:
            raise UserError(
                f"model.experts_per_token={self.experts_per_token} must be from 1 to model.experts={self.experts}"
            )

    @property
    def routing(self) -> Routing:
        return Routing(self.experts, self.experts_per_token, self.normalized_shares)


def config(options: Qwen3MoeOptions) -> dict[str, Any]:
    return {
        **qwen3.config(options),
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "intermediate_size": options.feed_forward * options.experts_per_token,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }


def options(found: Mapping[str, Any], place: str) -> Qwen3MoeOptions:
    require(
        found,
        place,
        hidden_act=("silu",),
        attention_bias=(False,),
        use_sliding_window=(False,),
        decoder_sparse_step=(1,),
        mlp_only_layers=([], None),
    )
    if "num_local_experts" in found:
        found = {"num_experts": found["num_local_experts"], **found}
    return Qwen3MoeOptions(**read_fields(found, FIELDS, place), rope_theta=rope_theta(found, place))


def _small(width: int, layers: int, head_dim: int, context: int = 1024) -> dict[str, Any]:
    return {**qwen3.small(width, layers, head_dim, context), "feed_forward": width}


_PUBLISHED = {
    "kv_heads": 4,
    "head_dim": 128,
    "experts": 128,
    "experts_per_token": 8,
    "context": 40_960,
    "rope_theta": 1_000_000.0,
    "vocab_size": 151_936,
    "tied": False,
}

QWEN3_MOE = Architecture(
    name="qwen3-moe",
    options=Qwen3MoeOptions,
    root=Decoder,
    presets={
        "qwen3-moe-1m": _small(96, 3, 32),
        "qwen3-moe-5m": _small(192, 4, 32),
        "qwen3-moe-15m": _small(320, 5, 64),
        "qwen3-moe-50m": _small(512, 7, 64, context=2048),
        "qwen3-30b-a3b": {"width": 2048, "layers": 48, "heads": 32, "feed_forward": 768, **_PUBLISHED},
        "qwen3-235b-a22b": {"width": 4096, "layers": 94, "heads": 64, "feed_forward": 1536, **_PUBLISHED},
    },
    public=PublicFormat(
        model_type="qwen3_moe",
        class_name="Qwen3MoeForCausalLM",
        classifier="Qwen3MoeForSequenceClassification",
        weights=(
            *(rule for rule in qwen3.LLAMA_LINE if ".mlp." not in rule.public),
            *qwen3.NORMED_HEADS,
            *_EXPERTS,
        ),
        config=config,
        options=options,
    ),
)
