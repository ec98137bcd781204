"""`list`: the names of things."""

from __future__ import annotations

from chatwright import registry
from chatwright.errors import UserError, did_you_mean
from chatwright.recipes.verb import NoOptions, verb

_PLURAL = {f"{kind}s".replace("_", " "): kind for kind in registry.TABLES}


@verb(NoOptions)
def list_names(kind: str | None = None, options: NoOptions = NoOptions()) -> dict[str, list[str]]:
    """Print the names of all verbs, models, objectives, optimizers …; or of one kind: `list objectives`."""
    known = {**_PLURAL, **{name: name for name in registry.TABLES}, "presets": "preset", "models": "preset"}
    if kind is not None and kind.replace("_", " ") not in known and kind not in known:
        raise UserError(f"there is no kind of thing called {kind!r}{did_you_mean(kind, known)}")
    wanted = (
        [known.get(kind, known.get(kind.replace("_", " "), ""))] if kind else [*registry.kinds(), "preset"]
    )
    found = {name: names(name) for name in wanted}
    for name, members in found.items():
        print(f"{name.replace('_', ' ')}: {', '.join(members)}")
    return found


def names(kind: str) -> list[str]:
    """All names of one kind."""
    if kind == "preset":
        from chatwright.models.presets import presets

        return list(presets())
    return sorted(registry.table(kind))
