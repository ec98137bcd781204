"""Options: frozen dataclasses, filled from defaults, a preset, a YAML or JSON file and `key=value`, in that order.

A field's help stands in its metadata (`option(8, "how many …")`), and the command line prints it. A mapping field is
open: its keys are checked by whoever owns them (`model.layers=6`, `objective.rate=0.2`).
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from chatwright.errors import UserError, did_you_mean

T = TypeVar("T")


def option(default: Any, help: str) -> Any:
    """A dataclass field with its default and the line that `--help` shows."""
    if isinstance(default, dict | list):
        kind = type(default)
        return dataclasses.field(default_factory=lambda: kind(default), metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


def at_least(options: object, least: float, *names: str, group: str = "") -> None:
    """Refuse options below `least`; None is left alone. group: what stands before their names, as `model.`"""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            said = f"{value:g}" if isinstance(value, float) else value
            raise UserError(f"{group}{name}={said} must be at least {least}")


def build(cls: type[T], values: Mapping[str, Any], place: str = "") -> T:
    """Make the frozen dataclass `cls` from a mapping; an unknown key or a value of the wrong type is refused.

    `place` says in errors where the values come from, for example `pretrain`.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            where = f"{place} has no option {key!r}" if place else f"there is no option {key!r}"
            raise UserError(where + did_you_mean(key, known))
        chosen[key] = convert(value, hints[key], key)
    for name, field in known.items():
        if name not in chosen and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{place or cls.__name__} needs the option {name!r}")
    return cls(**chosen)


def convert(value: Any, hint: Any, key: str) -> Any:
    """Bring a value (often a string from the command line) to the type of its field, or refuse it by name."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, key)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise UserError(f"{key}={value} is not one of {', '.join(map(str, arguments))}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else build(hint, _mapping(value, key), key)
    if origin in (list, tuple):
        items = value.split(",") if isinstance(value, str) else list(value)
        converted = [convert(item, arguments[0], key) for item in items]
        return tuple(converted) if origin is tuple else converted
    if origin is dict or hint is dict:
        return dict(_mapping(value, key))
    return _convert_scalar(value, hint, key)


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = yaml.safe_load(value)
    if not isinstance(value, Mapping):
        raise UserError(f"{key}={value} should be a group of options, as {key}.name=value")
    return value


def _convert_union(value: Any, arguments: tuple[Any, ...], key: str) -> Any:
    if type(None) in arguments and (value is None or value in ("none", "null", "None")):
        return None
    failures = []
    for hint in (a for a in arguments if a is not type(None)):
        try:
            return convert(value, hint, key)
        except UserError as error:
            failures.append(str(error))
    raise UserError(failures[-1])


def _convert_scalar(value: Any, hint: Any, key: str) -> Any:
    refusal = UserError(f"{key}={value} is not {_spoken(hint)}")
    if hint is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise refusal
        return words[str(value).lower()]
    if hint in (int, float):
        if isinstance(value, bool):
            raise refusal
        number = _number(str(value).replace("_", ""))
        if number is None or (hint is int and int(number) != number):
            raise refusal
        return hint(number)
    if hint is str and isinstance(value, str | int | float | Path):
        return str(value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    raise refusal


def _number(text: str) -> int | float | None:
    """A finite number of at most 63 bits, whole ones exactly; None for anything else."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) and abs(number) < 2**63 else None
    return None


def _spoken(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    return words.get(hint, f"of type {getattr(hint, '__name__', hint)}")


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """`["steps=10", "model.layers=4"]` to `{"steps": "10", "model": {"layers": "4"}}`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{pair!r} is not an option; options are written key=value")
        set_nested(values, key.split("."), value)
    return values


def set_nested(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set `values[a][b]… = value`. A name given before its options (`model=x model.layers=4`) keeps both."""
    for key in path[:-1]:
        inner = values.get(key, {})
        values[key] = inner if isinstance(inner, dict) else {"name": inner}
        values = values[key]
    last = path[-1]
    if isinstance(values.get(last), dict) and not isinstance(value, dict):
        values[last] = {**values[last], "name": value}
    else:
        values[last] = value


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other, the later winning, groups merged key by key."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                before = result.get(key, {})
                result[key] = merge(before if isinstance(before, Mapping) else {"name": before}, value)
            elif isinstance(result.get(key), dict):
                result[key] = {**result[key], "name": value}
            else:
                result[key] = value
    return result


def read_file(path: Path) -> dict[str, Any]:
    """Read options from a YAML or JSON file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no options file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"cannot read the options file {path}: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} should hold options as `key: value`, not a {type(values).__name__}")
    return values


def as_dict(value: Any) -> Any:
    """A dataclass as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def dumps(value: Any) -> str:
    """JSON for people: indented, not escaped."""
    return json.dumps(as_dict(value), indent=2, ensure_ascii=False) + "\n"


def describe(cls: type) -> list[tuple[str, str, str]]:
    """`(name, default, help)` of every option of a dataclass, for `--help`."""
    return [(f.name, _default(f), f.metadata.get("help", "")) for f in dataclasses.fields(cls)]


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return "" if field.default is None else str(field.default)
    if field.default_factory is MISSING:
        return ""
    made = field.default_factory()
    return str(made.get("name", "")) if isinstance(made, dict) else ""
