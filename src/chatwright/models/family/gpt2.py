"""GPT-2 (Radford et al. 2019, Language Models are Unsupervised Multitask Learners), up to 48 layers.

New in it: normalization moves in front of each part, and one more stands at the end, which lets it grow deep; the
context doubles; tasks are asked for as text, without fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.models.decoder import Decoder, Parts
from chatwright.models.family.architecture import Architecture, PublicFormat, read_fields, require
from chatwright.models.family.gpt1 import FIELDS, MASKS, TANH_GELU, GptOptions, gpt_weights, small
from chatwright.models.interop.renaming import renamed

PARTS = Parts(norm="layer", positions="learned", normed_heads=False, bias="all", feed_forward="gelu_tanh")
WEIGHTS = (
    *gpt_weights("wte", "wpe"),
    *renamed({f"final_norm.{name}": f"transformer.ln_f.{name}" for name in ("weight", "bias")}),
)


@dataclass(frozen=True)
class Gpt2Options(GptOptions):
    """The shape of a GPT-2."""

    architecture: ClassVar[str] = "gpt2"
    parts: ClassVar[Parts] = PARTS


def config(options: GptOptions) -> dict[str, Any]:
    return {
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "n_inner": options.feed_forward,
        "activation_function": "gelu_new",
        "tie_word_embeddings": options.tied,
        "scale_attn_weights": True,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
    }


def shape(found: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Our fields from a config.json of GPT-2's form."""
    require(
        found,
        place,
        activation_function=TANH_GELU,
        scale_attn_weights=(True,),
        scale_attn_by_inverse_layer_idx=(False,),
        add_cross_attention=(False,),
    )
    fields = read_fields(found, FIELDS, place)
    tied = bool(found.get("tie_word_embeddings", True))
    return {**fields, "feed_forward": found.get("n_inner") or 0, "tied": tied}


def options(found: Mapping[str, Any], place: str) -> Gpt2Options:
    return Gpt2Options(**shape(found, place))


def _published(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {"width": width, "layers": layers, "heads": heads, "context": 1024, "vocab_size": 50_257}


GPT2 = Architecture(
    name="gpt2",
    options=Gpt2Options,
    root=Decoder,
    presets={
        "gpt2-1m": small(128, 3, 4),
        "gpt2-5m": small(256, 5, 4),
        "gpt2-15m": small(384, 7, 6),
        "gpt2-50m": small(576, 12, 9),
        "gpt2-small": _published(768, 12, 12),
        "gpt2-medium": _published(1024, 24, 16),
        "gpt2-large": _published(1280, 36, 20),
        "gpt2-xl": _published(1600, 48, 25),
    },
    public=PublicFormat(
        model_type="gpt2",
        class_name="GPT2LMHeadModel",
        classifier="GPT2ForSequenceClassification",
        weights=WEIGHTS,
        config=config,
        options=options,
        prefix="transformer.",
        ignored=MASKS,
    ),
)
