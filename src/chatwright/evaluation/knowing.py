"""Whether a model knows what it knows: verdicts over replies about real, made-up and kept-out names, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias, get_args

from chatwright.data.unknown_names import Kind, PromptRow, Verdict, verdict
from chatwright.evaluation.answers import Share

ALL = "all"
"""The key of all languages together."""

_OF_REAL: tuple[Verdict, ...] = ("right", "refused", "wrong")
_OF_OTHERS: tuple[Verdict, ...] = ("admitted", "garbled", "wrong")

Knowing: TypeAlias = dict[Kind, dict[str, dict[Verdict, Share]]]
"""Of each kind of name and each language, the share of every verdict, with its interval."""


def tally(rows: Sequence[PromptRow], replies: Sequence[str]) -> Knowing:
    """Count the verdicts over one reply a row, by kind and language, and over all languages."""
    counts: dict[Kind, dict[str, Counter[Verdict]]] = {}
    for row, reply in zip(rows, replies, strict=True):
        found = verdict(row["kind"], row["name"], row["answer"], reply)
        by_language = counts.setdefault(row["kind"], {})
        for language in (row["language"], ALL):
            by_language.setdefault(language, Counter())[found] += 1
    return {
        kind: {language: _shares(kind, found) for language, found in sorted(counts[kind].items())}
        for kind in get_args(Kind)
        if kind in counts
    }


def _shares(kind: Kind, found: Counter[Verdict]) -> dict[Verdict, Share]:
    possible = _OF_REAL if kind == "real" else _OF_OTHERS
    return {name: Share(found[name], found.total()) for name in possible}
