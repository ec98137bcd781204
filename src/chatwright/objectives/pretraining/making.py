"""Objectives that learn from a corpus: by name, with their options and rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from chatwright.config import build
from chatwright.data.packing import Rows, SequentialRows, StreamRows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.records import Document
from chatwright.errors import UserError
from chatwright.objectives.contract import Objective
from chatwright.objectives.pretraining.text import Text
from chatwright.registry import lookup, table

# Asked only for objectives that need them: not every tokenizer has a mask token.
Facts = Callable[[], TokenFacts]


def single(name: str, given: Mapping[str, Any], facts: Facts | None) -> Objective[Any]:
    """One objective that learns from text, by its name in the registry."""
    cls = lookup("objective", name)
    if cls.record is not Document or name not in text_objectives():
        known = ", ".join(sorted(text_objectives()))
        raise UserError(f"objective={name} does not learn from a corpus; those that do: {known}")
    options = build(cls.Options, given, f"objective.{name}")
    wants_facts = facts is not None and "facts" in inspect.signature(cls).parameters
    made: Objective[Any] = cls(options, facts=facts()) if wants_facts and facts else cls(options)
    return made


def text_objectives() -> dict[str, Any]:
    """The classes of all objectives that learn from a corpus, by name; mixtures of them have no name."""
    found = {name: lookup("objective", name) for name in table("objective") if name != "mixture"}
    return {name: cls for name, cls in found.items() if cls.record is Document}


def rows_of(objective: Objective[Any], text: Text) -> Rows[Any]:
    """The rows that an objective makes of a text, or the text as it stands where it does not say."""
    make = getattr(objective, "rows", None)
    if make is not None:
        rows: Rows[Any] = make(text)
        return rows
    if text.held_out:
        return SequentialRows(text.store, text.context, text.tokenizer.pad)
    return StreamRows(text.store, text.context, text.seed)


def terms_of(group: Mapping[str, Any], default: str) -> dict[str, dict[str, Any]]:
    """The objectives that options name, each with its own options: `masked,next_sentence`, or
    `{"masked": {"weight": 1}, "causal": {"weight": 0.5}}`; the default where none is named."""
    values, known = dict(group), table("objective")
    nested = {key: dict(values.pop(key)) for key in group if key in known and isinstance(group[key], Mapping)}
    name = values.pop("name", None if nested else default)
    names = [part.strip() for part in str(name).split(",")] if name is not None else []
    terms: dict[str, dict[str, Any]] = {part: nested.pop(part, {}) for part in names} | nested
    for part in terms:
        lookup("objective", part)
    if values and len(terms) > 1:
        key = next(iter(values))
        raise UserError(
            f"objective.{key} belongs to one of several objectives; write objective.{names[0]}.{key}"
        )
    if values:
        only = next(iter(terms))
        terms[only] = {**terms[only], **values}
    return terms
