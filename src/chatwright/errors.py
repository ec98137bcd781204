"""What can go wrong for a user, as opposed to what only a bug can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: one line that names the value, the place and the mend. The command line exits with 2."""


class Interrupted(Exception):
    """The user asked to stop; what was done is saved. The command line exits with 130."""


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `value`, or the list of known names."""
    names = sorted(known)
    near = difflib.get_close_matches(value, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
