"""Comparisons that are ready to be voted on when the quickstart ends: the same questions, before and after PPO."""

from __future__ import annotations

from collections.abc import Sequence

from chatwright.data.formats import SkipRow
from chatwright.data.records import Message
from chatwright.data.unknown_names import PromptRow
from chatwright.runs import Run
from chatwright.serving.votes.labelling import item
from chatwright.serving.votes.records import Item
from chatwright.serving.votes.store import VoteStore

_MOST = 24


def prepare_votes(talk: Run, best: Run, rows: Sequence[PromptRow], answers: Sequence[Sequence[str]]) -> int:
    """Put comparisons of both models' replies into the queue of the aligned run's page; returns how many there are.

    `answers` are the replies of both to the prompts of `rows`. Prompts with equal replies say nothing; of the others
    those that are taken lie evenly over all kinds of names.
    """
    models = [run.directory.name for run in (talk, best)]
    found: list[Item] = []
    for row, *said in zip(rows, *answers, strict=True):
        try:
            found.append(item([Message("user", row["prompt"])], said, models, source="quickstart"))
        except SkipRow:
            continue
    chosen = found[:: max(1, len(found) // _MOST)][:_MOST]
    store = VoteStore.open(best)
    try:
        store.enqueue(chosen)
    finally:
        store.close()
    return len(chosen)
