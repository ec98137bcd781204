"""What every verb has in common: options from defaults, a file and `key=value`, in that order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from chatwright import config as configuration
from chatwright.runs import Run

Place = str | Path | Run
R = TypeVar("R", covariant=True)


class Verb(Protocol[R]):
    """A verb as users call it: positional inputs, `config=FILE`, and its options as keywords."""

    options_type: type
    __name__: str
    __doc__: str | None

    def __call__(self, *arguments: Any, config: str | Path | None = None, **options: Any) -> R: ...


@dataclass(frozen=True)
class NoOptions:
    """A verb without options."""


def verb(options_type: type) -> Callable[[Callable[..., R]], Verb[R]]:
    """Make a verb of a recipe whose last argument is `options`, a frozen dataclass."""

    def decorate(recipe: Callable[..., R]) -> Verb[R]:
        inputs = [name for name in inspect.signature(recipe).parameters if name != "options"]

        @functools.wraps(recipe)
        def call(*arguments: Any, config: str | Path | None = None, **options: Any) -> R:
            named = {name: options.pop(name) for name in inputs if name in options}
            from_file = configuration.read_file(Path(config)) if config else {}
            nested: dict[str, Any] = {}
            for key, value in options.items():
                configuration.set_nested(nested, key.split("."), value)
            chosen = configuration.merge(_defaults(options_type), from_file, nested)
            return recipe(
                *arguments, **named, options=configuration.build(options_type, chosen, recipe.__name__)
            )

        result = cast("Any", call)
        result.options_type = options_type
        return cast("Verb[R]", result)

    return decorate


def _defaults(options_type: type) -> dict[str, Any]:
    """The default groups, so that `optimizer.momentum=0.9` keeps the default optimizer's name."""
    plain = options_type()
    return {name: dict(value) for name, value in vars(plain).items() if isinstance(value, dict)}
