"""BERT (Devlin et al. 2019): an encoder that is taught to fill gaps in, from both sides, and to tell next sentences.

New in it: a deep model that reads left and right at once, pretrained once and then put under a small head for each task.
The sizes below base are those of Turc et al. 2019.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.family.architecture import (
    Architecture,
    PublicFormat,
    PublicHead,
    read_fields,
    require,
)
from chatwright.models.heads.labels import NEXT_SENTENCE
from chatwright.models.interop.renaming import Weight, renamed

FIELDS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "context": "max_position_embeddings",
    "types": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
}
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
_LANGUAGE, _POOLER = "cls.predictions.transform.dense.weight", "pooler.dense.weight"


def _maps() -> dict[str, str]:
    """Linear maps and norms, {ours: public}, each with a weight and a bias."""
    layer = "bert.encoder.layer.{}"
    return {
        "embedding_norm": "bert.embeddings.LayerNorm",
        "blocks.{}.attention.query": f"{layer}.attention.self.query",
        "blocks.{}.attention.key": f"{layer}.attention.self.key",
        "blocks.{}.attention.value": f"{layer}.attention.self.value",
        "blocks.{}.attention.output": f"{layer}.attention.output.dense",
        "blocks.{}.attention_norm": f"{layer}.attention.output.LayerNorm",
        "blocks.{}.feed_forward.up": f"{layer}.intermediate.dense",
        "blocks.{}.feed_forward.down": f"{layer}.output.dense",
        "blocks.{}.feed_forward_norm": f"{layer}.output.LayerNorm",
        "pooler": "bert.pooler.dense",
        "language.dense": "cls.predictions.transform.dense",
        "language.norm": "cls.predictions.transform.LayerNorm",
    }


WEIGHTS: tuple[Weight, ...] = renamed(
    {
        "embedding.weight": "bert.embeddings.word_embeddings.weight",
        "positions.weight": "bert.embeddings.position_embeddings.weight",
        "types.weight": "bert.embeddings.token_type_embeddings.weight",
        "language.bias": "cls.predictions.bias",
        **{f"{ours}.{kind}": f"{pub}.{kind}" for ours, pub in _maps().items() for kind in ("weight", "bias")},
    }
)


def config(options: EncoderOptions) -> dict[str, Any]:
    return {
        "architectures": ["BertForMaskedLM" if options.language_head else "BertModel"],
        **{public: getattr(options, name) for name, public in FIELDS.items()},
        "hidden_act": ACTIVATIONS[options.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "add_pooling_layer": options.pooler,
    }


def options(found: Mapping[str, Any], place: str) -> EncoderOptions:
    require(
        found,
        place,
        hidden_act=(*ACTIVATIONS.values(), "gelu_pytorch_tanh"),
        position_embedding_type=("absolute",),
        tie_word_embeddings=(True,),
        is_decoder=(False,),
        add_cross_attention=(False,),
    )
    activations = {public: ours for ours, public in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
    written = set(found.get("architectures") or ())
    return EncoderOptions(
        **read_fields(found, FIELDS, place),
        activation=activations[found.get("hidden_act", "gelu")],  # type: ignore[arg-type]
        language_head=bool(written & {"BertForMaskedLM", "BertForPreTraining"}),
        pooler=bool(found.get("add_pooling_layer", True)),
    )


def fitted(options: EncoderOptions, names: Collection[str]) -> EncoderOptions:
    """The options of a file with tensors of these names: with a pooler and a language head, or without."""
    has_pooler = any(name.removeprefix("bert.") == _POOLER for name in names)
    return replace(options, pooler=has_pooler, language_head=_LANGUAGE in names)


def _size(layers: int, width: int) -> dict[str, int]:
    heads, feed_forward = width // 64, 4 * width
    return {
        "layers": layers,
        "width": width,
        "heads": heads,
        "feed_forward": feed_forward,
        "vocab_size": 30_522,
    }


BERT = Architecture(
    name="bert",
    options=EncoderOptions,
    root=Encoder,
    presets={
        "bert-tiny": _size(2, 128),
        "bert-mini": _size(4, 256),
        "bert-small": _size(4, 512),
        "bert-medium": _size(8, 512),
        "bert-base": _size(12, 768),
        "bert-large": _size(24, 1024),
    },
    public=PublicFormat(
        model_type="bert",
        class_name="BertForMaskedLM",
        weights=WEIGHTS,
        config=config,
        options=options,
        prefix="bert.",
        ignored=(
            r"bert\.embeddings\.position_ids",
            r"cls\.predictions\.decoder\.(weight|bias)",
            r"cls\.seq_relationship\.(weight|bias)",
        ),
        # the first published files call a norm's weight and bias so
        spellings={".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"},
        fitted=fitted,
        heads=(
            PublicHead(
                "sequence",
                "cls.seq_relationship",
                "BertForNextSentencePrediction",
                with_language="BertForPreTraining",
                name="next_sentence",
                labels=NEXT_SENTENCE.labels,
            ),
            PublicHead("sequence", "classifier", "BertForSequenceClassification"),
            PublicHead("regression", "classifier", "BertForSequenceClassification"),
            PublicHead("token", "classifier", "BertForTokenClassification"),
            PublicHead("choice", "classifier", "BertForMultipleChoice"),
            PublicHead("span", "qa_outputs", "BertForQuestionAnswering"),
        ),
    ),
)
