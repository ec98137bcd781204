"""A collective step over parts, as the engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import Collective


def collect(
    step: Collective, parts: Sequence[list[Doc]], is_alive: Callable[[Doc], bool] = lambda doc: True
) -> tuple[list[Doc], Notes]:
    """What the step leaves of the documents alive, and its notes."""
    signs = [step.sign(part) for part in parts]
    alive = [np.array([is_alive(doc) for doc in part], bool) for part in parts]
    left, notes = [], Notes()
    for part, mask, decision in zip(parts, alive, step.decide(signs, alive), strict=True):
        there = [doc for doc, stays in zip(part, mask, strict=True) if stays]
        left += step.apply(there, decision, notes)
    return left, notes


def in_parts(texts: Sequence[str], *sizes: int) -> list[list[Doc]]:
    """Documents with their numbers as ids, in parts of these sizes and a last one with the rest."""
    docs = [Doc(str(number), "s", text) for number, text in enumerate(texts)]
    parts = []
    for size in sizes:
        parts.append(docs[:size])
        docs = docs[size:]
    return [*parts, docs]
