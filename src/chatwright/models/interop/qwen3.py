"""Qwen3's names and config in the public format, so that `transformers`, vLLM and SGLang load a run as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.root import Root
from chatwright.models.scored import ScoredDecoder

_IN_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}
_OUTSIDE = {
    "embedding.weight": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_SCORE, _SURE = "score.weight", "confidence."
_CAUSAL, _CLASSIFIER = "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"
# No public class reads a confidence head, and one that left it out would give other scores.
_CONFIDENT = "ChatwrightConfidentReward"
_FIELDS = {
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


def public_name(name: str) -> str:
    """`blocks.3.attention.query.weight` → `model.layers.3.self_attn.q_proj.weight`."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, layer, rest = name.split(".", 2)
    part, _, leaf = rest.rpartition(".")
    return f"model.layers.{layer}.{_IN_BLOCK[part]}.{leaf}"


def public_weights(model: Root) -> dict[str, Tensor]:
    """The model's weights under their public names; of a policy with a value of its own, the policy's."""
    trunk = model.trunk if isinstance(model, ScoredDecoder) else model
    weights = {public_name(name): tensor for name, tensor in trunk.state_dict().items()}
    if isinstance(model, ScoredDecoder) and not model.language:
        weights[_SCORE] = model.head.weight.detach()
        weights |= {f"{_SURE}{name}": tensor for name, tensor in _sure(model).items()}
    return weights


def _sure(model: ScoredDecoder) -> dict[str, Tensor]:
    return model.confidence.state_dict() if model.confidence is not None else {}


def load_public_weights(model: Decoder, weights: Mapping[str, Tensor], place: str) -> None:
    """Copy weights in by their public names; names or shapes that do not fit are refused."""
    own = model.state_dict()
    wanted = {public_name(name): name for name in own}
    missing, extra = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    extra = [name for name in extra if not (model.options.tied and name == "lm_head.weight")]
    if missing or extra:
        raise UserError(f"the weights in {place} do not fit: missing {missing[:3]}, not known {extra[:3]}")
    for public, name in wanted.items():
        if weights[public].shape != own[name].shape:
            shapes = f"{tuple(weights[public].shape)}, the config says {tuple(own[name].shape)}"
            raise UserError(f"the weights in {place} do not fit its config.json: {public} is {shapes}")
        own[name].copy_(weights[public])


def load_public_scores(model: ScoredDecoder, weights: Mapping[str, Tensor], place: str) -> None:
    """Copy a reward model's weights in by their public names."""
    score = weights.get(_SCORE)
    if score is None or score.shape != model.head.weight.shape:
        raise UserError(f"the weights in {place} hold no {_SCORE} of shape {tuple(model.head.weight.shape)}")
    own = {f"{_SURE}{name}": tensor for name, tensor in _sure(model).items()}
    if not own.keys() <= weights.keys():
        raise UserError(f"the weights in {place} lack the confidence head that its config.json tells of")
    heads = {_SCORE, *own}
    load_public_weights(model.trunk, {n: w for n, w in weights.items() if n not in heads}, place)
    model.head.weight.copy_(score)
    for name, tensor in own.items():
        tensor.copy_(weights[name])


def public_config(options: DecoderOptions, tokens: Mapping[str, int | None]) -> dict[str, Any]:
    """config.json. `tokens` gives bos_token_id, eos_token_id and pad_token_id."""
    fields = {public: getattr(options, name) for name, public in _FIELDS.items()}
    return {
        "architectures": [_CAUSAL],
        "model_type": "qwen3",
        **fields,
        "rope_theta": options.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": options.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "max_window_layers": options.layers,
        "initializer_range": 0.02,
        "dtype": "float32",
        "use_cache": True,
        **tokens,
    }


def public_reward_config(model: ScoredDecoder, tokens: Mapping[str, int | None]) -> dict[str, Any]:
    """config.json of a reward model: a sequence classifier with a label for every head."""
    labels = [f"reward_{head}" if model.numbers > 1 else "reward" for head in range(model.numbers)]
    return {
        **public_config(model.options, tokens),
        "architectures": [_CLASSIFIER if model.confidence is None else _CONFIDENT],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def reward_heads(config: Mapping[str, Any]) -> int:
    """How many heads the reward model of a config.json has; 0 for a language model."""
    is_reward = not {_CLASSIFIER, _CONFIDENT}.isdisjoint(config.get("architectures") or ())
    return len(config.get("id2label") or {"0": ""}) if is_reward else 0


def has_confidence(config: Mapping[str, Any]) -> bool:
    """Whether the reward model of a config.json reads its own confidence."""
    return _CONFIDENT in (config.get("architectures") or ())


def options_of(config: Mapping[str, Any], place: str) -> DecoderOptions:
    """The shape that a config.json describes."""
    if config.get("model_type") != "qwen3":
        raise UserError(f"{place} holds a model of type {config.get('model_type')!r}; this needs 'qwen3'")
    try:
        fields = {name: config[public] for name, public in _FIELDS.items()}
    except KeyError as error:
        raise UserError(f"{place} lacks the field {error.args[0]!r}") from None
    theta = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta", 10_000.0)
    return DecoderOptions(**fields, rope_theta=float(theta))
