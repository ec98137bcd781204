"""What an architecture of the family is: its shape, its sizes by name, and its public format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chatwright import registry
from chatwright.errors import UserError
from chatwright.models.heads.labels import Kind
from chatwright.models.interop.renaming import Rules
from chatwright.models.root import Root


@dataclass(frozen=True)
class PublicHead:
    """A head that the ecosystem knows: where its weight and bias lie, and the class that reads it, without or with the
    language head. name: of ours, where only one of that name is meant, with these labels."""

    kind: Kind
    tensors: str
    class_name: str
    with_language: str | None = None
    name: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublicFormat:
    """How the ecosystem writes an architecture.

    config: our options as fields of config.json. options: the reverse, which refuses what is not supported by name; its
    second argument is the file's place. prefix: stands before the public names, and may be lacking in a file. ignored:
    patterns of public names that are not wanted. classifier: the class that a reward model loads as, if there is one.
    spellings: endings of public names in old files, {old: new}. fitted: the options of a file whose tensors have these
    names. heads: those that the ecosystem knows; of several that fit, the first counts.
    """

    model_type: str
    class_name: str
    weights: Rules
    config: Callable[[Any], dict[str, Any]]
    options: Callable[[Mapping[str, Any], str], Any]
    classifier: str | None = None
    prefix: str = ""
    ignored: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    fitted: Callable[[Any, Collection[str]], Any] | None = None
    heads: tuple[PublicHead, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """One member of the family. `root(options)` builds it; `presets` are fields of its options by a size's name."""

    name: str
    options: type[Any]
    root: Callable[[Any], Root]
    presets: Mapping[str, Mapping[str, Any]]
    public: PublicFormat


def architectures() -> Iterator[Architecture]:
    """All of the family, plug-ins too."""
    return (registry.lookup("model", name) for name in registry.table("model"))


def architecture_of(options: Any) -> Architecture:
    """The architecture whose options these are."""
    found: Architecture = registry.lookup("model", type(options).architecture)
    return found


def public_architecture(config: Mapping[str, Any], place: str) -> Architecture:
    """The architecture that a config.json names."""
    model_type = config.get("model_type")
    for known in architectures():
        if known.public.model_type == model_type:
            return known
    supported = ", ".join(sorted(known.public.model_type for known in architectures()))
    raise UserError(f"{place} holds a model of type {model_type!r}; supported are {supported}")


def read_fields(config: Mapping[str, Any], fields: Mapping[str, str], place: str) -> dict[str, Any]:
    """Our fields from a config.json, by a table {ours: public}; one that is missing is named."""
    missing = [public for public in fields.values() if config.get(public) is None]
    if missing:
        raise UserError(f"{place} lacks the field {missing[0]!r}")
    return {name: config[public] for name, public in fields.items()}


def require(config: Mapping[str, Any], place: str, **supported: tuple[Any, ...]) -> None:
    """Refuse a field whose value is none of the supported ones; a field that is not there is fine."""
    for name, values in supported.items():
        if name in config and config[name] not in values:
            known = " or ".join(repr(value) for value in values)
            raise UserError(f"{place}: {name}={config[name]!r} is not supported, only {known}")


def rope_theta(config: Mapping[str, Any], place: str, default: float = 10_000.0) -> float:
    """The base of the rotary angles in either spelling; a scaling of them is refused."""
    parameters = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise UserError(f"{place}: rotary positions of type {kind!r} are not supported, only 'default'")
    return float(config.get("rope_theta") or parameters.get("rope_theta") or default)
