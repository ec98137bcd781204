"""`list`: the names of things, and of models their sizes."""

from __future__ import annotations

import inspect
from typing import Any

from chatwright import registry
from chatwright.errors import UserError, did_you_mean
from chatwright.recipes.verb import NoOptions, verb

_PLURAL = {f"{kind}s".replace("_", " "): kind for kind in registry.TABLES}


@verb(NoOptions)
def list_names(kind: str | None = None, options: NoOptions = NoOptions()) -> dict[str, Any]:
    """Print the names of all verbs, models with their parameters, objectives, optimizers …; or of one kind:
    `list objectives`."""
    known = {**_PLURAL, **{name: name for name in registry.TABLES}, "presets": "preset", "models": "preset"}
    if kind is not None and kind.replace("_", " ") not in known and kind not in known:
        raise UserError(f"there is no kind of thing called {kind!r}{did_you_mean(kind, known)}")
    wanted = (
        [known.get(kind, known.get(kind.replace("_", " "), ""))] if kind else [*registry.kinds(), "preset"]
    )
    tell = _described if kind else _names
    return {name: _sizes() if name == "preset" else tell(name) for name in wanted}


def _names(kind: str) -> list[str]:
    """Print all names of one kind."""
    found = sorted(registry.table(kind))
    print(f"{kind.replace('_', ' ')}: {', '.join(found)}")
    return found


def _described(kind: str) -> list[str]:
    """Print all names of one kind, each with what the first sentence of its documentation says."""
    found = sorted(registry.table(kind))
    width = max(map(len, found), default=0)
    for name in found:
        first = " ".join((inspect.getdoc(registry.lookup(kind, name)) or "").split("\n\n")[0].split())
        print(f"{name:<{width}}  {first}")
    return found


def _sizes() -> dict[str, int]:
    """Print the models by a size's name with their parameters, and return those."""
    from chatwright.insight.anatomy import parameter_count
    from chatwright.models.presets import model_options, presets

    members = presets()
    counts = {name: parameter_count(model_options({"name": name})) for name in members}
    rows = [
        ("name", "parameters", "architecture"),
        *((n, f"{counts[n]:,}", m.name) for n, m in members.items()),
    ]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, count, architecture in rows:
        print(f"{name:<{first}}  {count:>{second}}  {architecture}")
    return counts
