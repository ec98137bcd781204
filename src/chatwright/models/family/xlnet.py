"""XLNet (Yang et al. 2019): a language model that reads both ways.

New in it: a text is predicted token by token in a random order, so that every token learns from both sides and nothing
is masked; two streams of attention make that possible. From Transformer-XL (Dai et al. 2019) it takes relative
positions and the memory of the segment before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.errors import UserError
from chatwright.models.family.architecture import Architecture, PublicFormat, read_fields, require
from chatwright.models.interop.renaming import Weight, renamed
from chatwright.models.xlnet import XLNet, XLNetOptions

FIELDS = {
    "vocab_size": "vocab_size",
    "width": "d_model",
    "layers": "n_layer",
    "heads": "n_head",
    "feed_forward": "d_inner",
    "norm_eps": "layer_norm_eps",
}
_OURS, _PUBLIC = "blocks.{}.attention", "transformer.layer.{}.rel_attn"
_TYPES = f"{_OURS}.types"
WEIGHTS = (
    *renamed(
        {
            "embedding.weight": "transformer.word_embedding.weight",
            "mask": "transformer.mask_emb",
            _TYPES: f"{_PUBLIC}.seg_embed",
            "blocks.{}.attention_norm.weight": f"{_PUBLIC}.layer_norm.weight",
            "blocks.{}.attention_norm.bias": f"{_PUBLIC}.layer_norm.bias",
            "blocks.{}.feed_forward.up.weight": "transformer.layer.{}.ff.layer_1.weight",
            "blocks.{}.feed_forward.up.bias": "transformer.layer.{}.ff.layer_1.bias",
            "blocks.{}.feed_forward.down.weight": "transformer.layer.{}.ff.layer_2.weight",
            "blocks.{}.feed_forward.down.bias": "transformer.layer.{}.ff.layer_2.bias",
            "blocks.{}.feed_forward_norm.weight": "transformer.layer.{}.ff.layer_norm.weight",
            "blocks.{}.feed_forward_norm.bias": "transformer.layer.{}.ff.layer_norm.bias",
            "head.weight": "lm_loss.weight",
            "output_bias": "lm_loss.bias",
        }
    ),
    Weight(f"{_PUBLIC}.q", (f"{_OURS}.query.weight",), transposed=True, like=_TYPES),
    Weight(f"{_PUBLIC}.k", (f"{_OURS}.key.weight",), transposed=True, like=_TYPES),
    Weight(f"{_PUBLIC}.v", (f"{_OURS}.value.weight",), transposed=True, like=_TYPES),
    Weight(f"{_PUBLIC}.r", (f"{_OURS}.distance.weight",), transposed=True, like=_TYPES),
    Weight(f"{_PUBLIC}.o", (f"{_OURS}.output.weight",), like=_TYPES),
    Weight(f"{_PUBLIC}.r_w_bias", (f"{_OURS}.content_bias",), like=_TYPES),
    Weight(f"{_PUBLIC}.r_r_bias", (f"{_OURS}.distance_bias",), like=_TYPES),
    Weight(f"{_PUBLIC}.r_s_bias", (f"{_OURS}.type_bias",), like=_TYPES),
)


def config(options: XLNetOptions) -> dict[str, Any]:
    return {
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "tie_word_embeddings": options.tied,
        "d_head": options.head_dim,
        "mem_len": options.memory or None,
        "clamp_len": options.clamp or -1,
        "attn_type": "bi",
        "ff_activation": "gelu",
        "dropout": 0.0,
        "initializer_range": 0.02,
        "reuse_len": None,
        "bi_data": False,
        "same_length": False,
        "untie_r": True,
    }


def options(found: Mapping[str, Any], place: str) -> XLNetOptions:
    require(
        found,
        place,
        attn_type=("bi",),
        ff_activation=("gelu",),
        reuse_len=(None, 0),
        bi_data=(False,),
        same_length=(False,),
        untie_r=(True,),
    )
    fields = read_fields(found, FIELDS, place)
    fields |= {
        "tied": found.get("tie_word_embeddings", True),
        "memory": found.get("mem_len") or 0,
        "clamp": max(0, found.get("clamp_len", -1)),
    }
    made = XLNetOptions(**fields)
    if found.get("d_head") not in (None, made.head_dim):
        raise UserError(f"{place}: d_head={found['d_head']} is not supported, only d_model / n_head")
    return made


def small(width: int, layers: int, head_dim: int) -> dict[str, Any]:
    """A shape laid out for two processor cores."""
    return {"width": width, "layers": layers, "heads": width // head_dim, "feed_forward": 4 * width}


_PUBLISHED = {"vocab_size": 32_000}

XLNET = Architecture(
    name="xlnet",
    options=XLNetOptions,
    root=XLNet,
    presets={
        "xlnet-1m": small(128, 5, 32),
        "xlnet-2m": small(192, 4, 32),
        "xlnet-5m": small(256, 6, 64),
        "xlnet-15m": small(384, 8, 64),
        "xlnet-50m": small(576, 12, 64),
        "xlnet-base": {**small(768, 12, 64), **_PUBLISHED},
        "xlnet-large": {**small(1024, 24, 64), **_PUBLISHED},
    },
    public=PublicFormat(
        model_type="xlnet",
        class_name="XLNetLMHeadModel",
        weights=WEIGHTS,
        config=config,
        options=options,
        prefix="transformer.",
        ignored=(r"lm_loss\.weight",),
    ),
)
