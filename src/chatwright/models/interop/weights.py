"""A model's weights under their public names, and back; of a reward model too."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.family.architecture import Architecture, architecture_of
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import HeadOptions
from chatwright.models.interop.heads import heads_config, load_head_weights, public_head_weights
from chatwright.models.interop.renaming import from_public, to_public
from chatwright.models.root import Root
from chatwright.models.scored import ScoredDecoder

SCORE, _SURE = "score.weight", "confidence."
# No public class reads a confidence head, and one that left it out would give other scores.
_CONFIDENT = "ChatwrightConfidentReward"


def public_weights(model: Root) -> dict[str, Tensor]:
    """The model's weights under their public names; of a policy with a value of its own, the policy's."""
    trunk = model.trunk if isinstance(model, ScoredDecoder | Headed) else model
    public = architecture_of(trunk.options).public
    weights = to_public(trunk.state_dict(), public.weights)
    if isinstance(model, Headed):
        weights |= public_head_weights(model, public)
    if isinstance(model, ScoredDecoder) and not model.language:
        weights[SCORE] = model.head.weight.detach()
        weights |= {f"{_SURE}{name}": tensor for name, tensor in _sure(model).items()}
    return weights


def _sure(model: ScoredDecoder) -> dict[str, Tensor]:
    return model.confidence.state_dict() if model.confidence is not None else {}


def load_public_weights(model: Root, weights: Mapping[str, Tensor], place: str) -> None:
    """Set a model's weights by their public names; names or shapes that do not fit are refused.

    On a processor a float32 weight that needs no rearranging is taken as it is, so that a mapped file is not copied.
    """
    public = architecture_of(model.options).public
    weights = {_respelled(name, public.spellings): tensor for name, tensor in weights.items()}
    if isinstance(model, Headed):
        weights, model = load_head_weights(model, weights, public, place), model.trunk
    own = dict(model.named_parameters())
    if public.prefix and not any(name.startswith(public.prefix) for name in weights):
        rules = {rule.public for rule in public.weights}
        outside = {name for name in weights if name in rules}
        weights = {name if name in outside else public.prefix + name: w for name, w in weights.items()}
    tied = (r"lm_head\.weight",) if getattr(model.options, "tied", False) else ()
    # a model may be read without the heads that it was trained under
    ignored = (*public.ignored, *tied, r"heads\..*")
    for name, tensor in from_public(own, weights, public.weights, place, ignored).items():
        parameter = own[name]
        taken = parameter.device.type == "cpu" and tensor.dtype == parameter.dtype and tensor.is_contiguous()
        if taken:
            parameter.data = tensor
        else:
            parameter.copy_(tensor)


def _respelled(name: str, spellings: Mapping[str, str]) -> str:
    for old, new in spellings.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def load_public_scores(model: ScoredDecoder, weights: Mapping[str, Tensor], place: str) -> None:
    """Set a reward model's weights by their public names."""
    score = weights.get(SCORE)
    if score is None or score.shape != model.head.weight.shape:
        raise UserError(f"the weights in {place} hold no {SCORE} of shape {tuple(model.head.weight.shape)}")
    own = {f"{_SURE}{name}": tensor for name, tensor in _sure(model).items()}
    if not own.keys() <= weights.keys():
        raise UserError(f"the weights in {place} lack the confidence head that its config.json tells of")
    heads = {SCORE, *own}
    load_public_weights(model.trunk, {n: w for n, w in weights.items() if n not in heads}, place)
    model.head.weight.copy_(score)
    for name, tensor in own.items():
        tensor.copy_(weights[name])


def public_config(
    options: Any, tokens: Mapping[str, int | None], heads: Mapping[str, HeadOptions] = MappingProxyType({})
) -> dict[str, Any]:
    """config.json. `tokens` gives bos_token_id, eos_token_id and pad_token_id; `heads` those over the model."""
    public = architecture_of(options).public
    kind = {"architectures": [public.class_name], "model_type": public.model_type}
    said = heads_config(heads, public, options) if heads else {}
    return {**kind, **public.config(options), **said, "dtype": "float32", **tokens}


def public_reward_config(model: ScoredDecoder, tokens: Mapping[str, int | None]) -> dict[str, Any]:
    """config.json of a reward model: a sequence classifier with a label for every head."""
    labels = [f"reward_{head}" if model.numbers > 1 else "reward" for head in range(model.numbers)]
    plain = _classifier(architecture_of(model.options))
    return {
        **public_config(model.options, tokens),
        "architectures": [plain if model.confidence is None else _CONFIDENT],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def _classifier(architecture: Architecture) -> str:
    """The public class where there is one; the name of a class that only we have, else."""
    return architecture.public.classifier or f"Chatwright{architecture.name.capitalize()}Reward"


def reward_heads(config: Mapping[str, Any], architecture: Architecture) -> int:
    """How many heads the reward model of a config.json has; 0 for a language model."""
    is_reward = not {_classifier(architecture), _CONFIDENT}.isdisjoint(config.get("architectures") or ())
    return len(config.get("id2label") or {"0": ""}) if is_reward else 0


def has_confidence(config: Mapping[str, Any]) -> bool:
    """Whether the reward model of a config.json reads its own confidence."""
    return _CONFIDENT in (config.get("architectures") or ())
