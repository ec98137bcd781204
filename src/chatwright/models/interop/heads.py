"""Heads in a model's directory: their tensors under public names where there are such, and their options in config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from chatwright.config import as_dict, build
from chatwright.errors import UserError
from chatwright.models.family.architecture import PublicFormat, PublicHead
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import ROW_KINDS, HeadOptions, LabelHead

_FIELD = "chatwright_heads"
_TRANSFORMERS_LABELS = 2

Heads = Mapping[str, HeadOptions]


def head_places(heads: Heads, public: PublicFormat, options: Any) -> dict[str, str]:
    """Under which name each head's weight and bias lie: the public one for the first head that it fits."""
    places: dict[str, str] = {}
    for name, head in heads.items():
        known = _public_head(name, head, public, options)
        is_free = known is not None and known.tensors not in places.values()
        if head.kind != "embedding":
            places[name] = known.tensors if known is not None and is_free else f"heads.{name}"
    return places


def _public_head(name: str, head: HeadOptions, public: PublicFormat, options: Any) -> PublicHead | None:
    """What the ecosystem has for a head; its heads over rows read the pooler."""
    is_pooled = getattr(options, "pooler", False) and head.pooling in (None, "pooled")
    if head.kind in ROW_KINDS and not is_pooled:
        return None
    for known in public.heads:
        is_meant = known.name in (None, name) and len(known.labels) in (0, len(head.labels))
        if known.kind == head.kind and is_meant:
            return known
    return None


def public_head_weights(model: Headed, public: PublicFormat) -> dict[str, Tensor]:
    """The heads' weights under the names that `head_places` gives them."""
    found: dict[str, Tensor] = {}
    for name, place in _places_of(model, public).items():
        head = model.head[name]
        assert isinstance(head, LabelHead)
        found |= {f"{place}.weight": head.weight.detach(), f"{place}.bias": head.bias.detach()}
    return found


def load_head_weights(
    model: Headed, weights: Mapping[str, Tensor], public: PublicFormat, place: str
) -> dict[str, Tensor]:
    """Set the heads' weights; returns the tensors that are not theirs. Missing and misshapen ones are refused."""
    rest = dict(weights)
    for name, at in _places_of(model, public).items():
        for kind, parameter in model.head[name].named_parameters():
            tensor = rest.pop(f"{at}.{kind}", None)
            if tensor is None or tensor.shape != parameter.shape:
                shape = tuple(parameter.shape)
                raise UserError(f"the weights in {place} hold no {at}.{kind} of shape {shape} (head {name})")
            parameter.copy_(tensor)
    return rest


def _places_of(model: Headed, public: PublicFormat) -> dict[str, str]:
    return head_places(model.head_options, public, model.options)


def heads_config(heads: Heads, public: PublicFormat, options: Any) -> dict[str, Any]:
    """The fields of config.json that tell of heads: ours, and those by which a public class knows one of them."""
    fields: dict[str, Any] = {_FIELD: {name: as_dict(head) for name, head in heads.items()}}
    for name, place in head_places(heads, public, options).items():
        known = _public_head(name, heads[name], public, options)
        if known is None or known.tensors != place:
            continue
        speaks = getattr(options, "language_head", False) and known.with_language is not None
        fields["architectures"] = [known.with_language if speaks else known.class_name]
        if known.name is None and known.kind not in ("span", "choice"):
            labels = heads[name].labels or ("LABEL_0",)
            fields["id2label"] = {str(index): label for index, label in enumerate(labels)}
            fields["label2id"] = {label: index for index, label in enumerate(labels)}
        if known.kind == "regression":
            fields["problem_type"] = "regression"
        break
    return fields


def read_heads(config: Mapping[str, Any], public: PublicFormat, place: str) -> dict[str, HeadOptions]:
    """The heads that a config.json tells of: in our field, or by its public class."""
    own = config.get(_FIELD)
    if own is not None:
        if not isinstance(own, Mapping):
            raise UserError(f"{place}: {_FIELD} is no table of heads")
        return {name: build(HeadOptions, head, f"{place}: the head {name}") for name, head in own.items()}
    classes = set(config.get("architectures") or ())
    fitting = [known for known in public.heads if classes & {known.class_name, known.with_language}]
    if not fitting:
        return {}
    is_number = config.get("problem_type") == "regression" or len(_labels(config, place)) == 1
    kinds = ("regression", "token") if is_number else ("sequence", "token", "choice", "span")
    known = next((known for known in fitting if known.kind in kinds), fitting[0])
    has_labels = known.kind not in ("span", "choice")
    labels = known.labels or (_labels(config, place) if has_labels else ())
    return {known.name or known.kind: HeadOptions(known.kind, labels)}


def _labels(config: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """The labels in their order; `transformers` means two where a file names none."""
    found = config.get("id2label") or {str(index): f"LABEL_{index}" for index in range(_TRANSFORMERS_LABELS)}
    try:
        return tuple(str(found[key]) for key in sorted(found, key=int))
    except (TypeError, ValueError):
        raise UserError(f"{place}: id2label={found!r} is no table of numbered labels") from None
