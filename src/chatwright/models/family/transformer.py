"""The Transformer (Vaswani et al. 2017, Attention Is All You Need): encoder and decoder, made for translation.

New in it: no recurrence; every token attends to every other, in several heads, and positions are waves added to the
embeddings. Its shape in the public format is Marian's (Junczys-Dowmunt et al. 2018), which all OPUS-MT models have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.errors import UserError
from chatwright.models.encoder_decoder import EncoderDecoder, EncoderDecoderOptions
from chatwright.models.family.architecture import Architecture, PublicFormat, read_fields, require
from chatwright.models.interop.renaming import Rules, renamed

_FIELDS = {
    "vocab_size": "vocab_size",
    "width": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "heads": "encoder_attention_heads",
    "feed_forward": "encoder_ffn_dim",
    "context": "max_position_embeddings",
    "activation": "activation_function",
    "start": "decoder_start_token_id",
}
# Marian's config has these for each side; here both sides share them.
_SAME = {"encoder_attention_heads": "decoder_attention_heads", "encoder_ffn_dim": "decoder_ffn_dim"}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "swish", "silu": "swish"}


def _block(ours: str, public: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Names of a block's parts, a weight and a bias each."""
    kinds = ("weight", "bias")
    return {
        f"{ours}.{{}}.{a}.{kind}": f"{public}.{{}}.{b}.{kind}" for a, b in parts.items() for kind in kinds
    }


def _attention(ours: str, public: str) -> dict[str, str]:
    maps = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
    return {f"{ours}.{a}": f"{public}.{b}" for a, b in maps.items()}


_ENCODER = {
    **_attention("attention", "self_attn"),
    "attention_norm": "self_attn_layer_norm",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
_DECODER = {**_ENCODER, **_attention("cross", "encoder_attn"), "cross_norm": "encoder_attn_layer_norm"}
_WEIGHTS: Rules = renamed(
    {
        "embedding.weight": "model.shared.weight",
        **_block("encoder", "model.encoder.layers", _ENCODER),
        **_block("decoder", "model.decoder.layers", _DECODER),
        "head.bias": "final_logits_bias",
    }
)


def _config(options: EncoderDecoderOptions) -> dict[str, Any]:
    fields = {public: getattr(options, name) for name, public in _FIELDS.items()}
    return {
        **fields,
        **{copy: fields[public] for public, copy in _SAME.items()},
        "decoder_vocab_size": options.vocab_size,
        "scale_embedding": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "static_position_embeddings": True,
        "normalize_before": False,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        # the default would force token 0 at the end of what is longest
        "forced_eos_token_id": None,
    }


def _options(found: Mapping[str, Any], place: str) -> EncoderDecoderOptions:
    require(
        found,
        place,
        activation_function=tuple(_ACTIVATIONS),
        scale_embedding=(True,),
        share_encoder_decoder_embeddings=(True,),
        tie_word_embeddings=(True,),
        static_position_embeddings=(True,),
        normalize_before=(False,),
        normalize_embedding=(False,),
        add_final_layer_norm=(False,),
        decoder_vocab_size=(found.get("vocab_size"), None),
    )
    if "scale_embedding" not in found:
        raise UserError(f"{place}: scale_embedding=False is not supported, only True")
    fields = read_fields(found, _FIELDS, place)
    for public, copy in _SAME.items():
        require(found, place, **{copy: (found[public],)})
    return EncoderDecoderOptions(**{**fields, "activation": _ACTIVATIONS[fields["activation"]]})


def _shape(width: int, layers: int, heads: int, feed_forward: int, **more: Any) -> dict[str, Any]:
    shape = {"width": width, "encoder_layers": layers, "decoder_layers": layers, "heads": heads}
    return {**shape, "feed_forward": feed_forward, **more}


# 37 000 pairs of bytes, shared by both languages (section 5.1)
_PUBLISHED = {"context": 1024, "vocab_size": 37_000}

TRANSFORMER = Architecture(
    name="transformer",
    options=EncoderDecoderOptions,
    root=EncoderDecoder,
    presets={
        "transformer-tiny": _shape(128, 2, 4, 512),
        "transformer-small": _shape(256, 3, 4, 1024),
        "transformer-base": _shape(512, 6, 8, 2048, **_PUBLISHED),
        "transformer-big": _shape(1024, 6, 16, 4096, **_PUBLISHED),
    },
    public=PublicFormat(
        model_type="marian",
        class_name="MarianMTModel",
        weights=_WEIGHTS,
        config=_config,
        options=_options,
        ignored=(
            r"lm_head\.weight",
            r"model\.(encoder|decoder)\.embed_(tokens|positions)\.weight",
        ),
    ),
)
