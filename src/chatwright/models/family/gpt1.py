"""GPT-1 (Radford et al. 2018, Improving Language Understanding by Generative Pre-Training): the first GPT.

New in it: a decoder alone, trained on the next token of plain books, then fine-tuned to each task. Its blocks are the
Transformer's, normalized after each part; positions are learned, and GELU takes the place of ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions, Parts
from chatwright.models.family.architecture import Architecture, PublicFormat, read_fields, require
from chatwright.models.interop.renaming import Weight, renamed

FIELDS = {
    "vocab_size": "vocab_size",
    "width": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "context": "n_positions",
    "norm_eps": "layer_norm_epsilon",
}
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class GptOptions(DecoderOptions):
    """The shape of a GPT. What is left out follows: heads share the width, and the feed-forward part is 4 times as wide."""

    kv_heads: int = option(0, "key-value heads; 0: as many as heads, as it has to be")
    head_dim: int = option(0, "width of a head; 0: width / heads, as it has to be")
    feed_forward: int = option(0, "inner width of the feed-forward part; 0: four times the width")
    norm_eps: float = option(1e-5, "added to the variance in normalization")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kv_heads != self.heads:
            raise UserError(
                f"model.kv_heads={self.kv_heads}: a GPT has as many as model.heads={self.heads}; leave it out"
            )
        if self.head_dim * self.heads != self.width:
            raise UserError(
                f"model.head_dim={self.head_dim}: the heads of a GPT share its width, so it is {self.width} / "
                f"{self.heads}; leave it out"
            )
        if self.rope_theta != DecoderOptions.rope_theta:
            raise UserError(f"model.rope_theta={self.rope_theta:g}: a GPT learns its positions; leave it out")


@dataclass(frozen=True)
class Gpt1Options(GptOptions):
    """The shape of a GPT-1."""

    architecture: ClassVar[str] = "gpt1"
    parts: ClassVar[Parts] = Parts(
        norm="layer",
        norm_after=True,
        positions="learned",
        normed_heads=False,
        bias="all",
        feed_forward="gelu_tanh",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feed_forward != 4 * self.width:
            raise UserError(
                f"model.feed_forward={self.feed_forward}: of a GPT-1 it is 4 x {self.width}; leave it out"
            )


def gpt_weights(embedding: str, positions: str) -> tuple[Weight, ...]:
    """The public names that GPT-1 and GPT-2 share, given those of the two embeddings.

    Matrices are stored [in, out], and those of queries, keys and values as one.
    """
    block, ours = "transformer.h.{}.", "blocks.{}."
    three = [f"{ours}attention.{part}" for part in ("query", "key", "value")]
    matrices = {
        "attn.c_proj": "attention.output",
        "mlp.c_fc": "feed_forward.up",
        "mlp.c_proj": "feed_forward.down",
    }
    vectors = {**matrices, "ln_1": "attention_norm", "ln_2": "feed_forward_norm"}
    norms = {"ln_1": "attention_norm", "ln_2": "feed_forward_norm"}
    return (
        *renamed({"embedding.weight": f"transformer.{embedding}.weight"}),
        *renamed({"positions.weight": f"transformer.{positions}.weight"}),
        Weight(f"{block}attn.c_attn.weight", tuple(f"{part}.weight" for part in three), transposed=True),
        Weight(f"{block}attn.c_attn.bias", tuple(f"{part}.bias" for part in three)),
        *(
            Weight(f"{block}{name}.weight", (f"{ours}{part}.weight",), True)
            for name, part in matrices.items()
        ),
        *renamed({f"{ours}{part}.weight": f"{block}{name}.weight" for name, part in norms.items()}),
        *renamed({f"{ours}{part}.bias": f"{block}{name}.bias" for name, part in vectors.items()}),
        *renamed({"head.weight": "lm_head.weight"}),
    )


# Masks that old files carry along.
MASKS = (r"transformer\.h\.\d+\.attn\.(masked_)?bias",)


def config(options: GptOptions) -> dict[str, Any]:
    return {
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "afn": "gelu",
        "tie_word_embeddings": options.tied,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
    }


def options(found: Mapping[str, Any], place: str) -> Gpt1Options:
    # what the public class calls "gelu" is the approximation by tanh
    require(found, place, afn=("gelu", *TANH_GELU))
    return Gpt1Options(**read_fields(found, FIELDS, place), tied=bool(found.get("tie_word_embeddings", True)))


def small(width: int, layers: int, heads: int, context: int = 1024) -> dict[str, Any]:
    """A shape laid out for two processor cores."""
    return {"width": width, "layers": layers, "heads": heads, "context": context}


GPT1 = Architecture(
    name="gpt1",
    options=Gpt1Options,
    root=Decoder,
    presets={
        "gpt1-1m": small(128, 3, 4),
        "gpt1-5m": small(256, 5, 4),
        "gpt1-15m": small(384, 7, 6),
        "gpt1-50m": small(576, 12, 9),
        "gpt1": {"width": 768, "layers": 12, "heads": 12, "context": 512, "vocab_size": 40_478},
    },
    public=PublicFormat(
        model_type="openai-gpt",
        class_name="OpenAIGPTLMHeadModel",
        classifier="OpenAIGPTForSequenceClassification",
        weights=gpt_weights("tokens_embed", "positions_embed"),
        config=config,
        options=options,
        prefix="transformer.",
        ignored=MASKS,
    ),
)
