"""Votes as rows that the verbs learn from: `reward`, `dpo`, `orpo`, `simpo` and `kto` take them as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.data.formats import SkipRow
from chatwright.data.preferences import comparison_of, labelled_of
from chatwright.errors import UserError, did_you_mean
from chatwright.serving.votes.records import Vote

Row = dict[str, Any]


def lines(votes: Iterable[Vote], kind: str, skipped: Tally | None = None) -> Iterator[str]:
    """Votes as JSON Lines: `preferences` (prompt, chosen, rejected), `rankings` (prompt, replies, ranks), `labelled`
    (messages, label) or `votes` (everything, with who and when).

    Rows that teach nothing, as ties and empty replies, are left out and counted in `skipped`.
    """
    if kind not in KINDS:
        raise UserError(f"there is no kind of export {kind!r}{did_you_mean(kind, KINDS)}")
    skipped = Tally() if skipped is None else skipped
    for vote in votes:
        found = False
        for row in KINDS[kind](vote):
            try:
                _CHECKS.get(kind, _anything)(row, f"vote {vote.id}")
            except SkipRow as reason:
                skipped.add(str(reason), f"vote {vote.id}")
                continue
            found = True
            yield json.dumps(row, ensure_ascii=False) + "\n"
        if not found:
            skipped.add(f"vote without {kind}", f"vote {vote.id}")


def compared(vote: Vote) -> Iterator[tuple[int, int]]:
    """(better, worse) for every two replies that are not tied."""
    for better, high in enumerate(vote.ranks):
        yield from ((better, worse) for worse, low in enumerate(vote.ranks) if high < low)


def _preferences(vote: Vote) -> Iterator[Row]:
    """A row for every two replies of which one is better; a better answer is better than what it was given for."""
    if vote.better:
        yield _pair(vote, vote.better, vote.replies[0], "", vote.models[0])
    for better, worse in compared(vote):
        yield _pair(vote, vote.replies[better], vote.replies[worse], vote.models[better], vote.models[worse])


def _pair(vote: Vote, chosen: str, rejected: str, chosen_model: str, rejected_model: str) -> Row:
    return {
        "prompt": vote.messages,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_model": chosen_model,
        "rejected_model": rejected_model,
        "vote": vote.id,
    }


def _rankings(vote: Vote) -> Iterator[Row]:
    replies, ranks = list(vote.replies), list(vote.ranks)
    models = list(vote.models)
    if vote.better:
        replies, ranks, models = [vote.better, *replies], [0, 1], ["", *models]
    if ranks:
        yield {
            "prompt": vote.messages,
            "replies": replies,
            "ranks": ranks,
            "models": models,
            "vote": vote.id,
        }


def _labelled(vote: Vote) -> Iterator[Row]:
    """What was said of one reply by itself: thumbs, better answers, and two replies that are both bad."""
    told = [(reply, vote.value > 0, model) for reply, model in zip(vote.replies, vote.models, strict=True)]
    for reply, wanted, model in told if vote.value else []:
        yield _label(vote, reply, wanted, model)
    if vote.better:
        yield _label(vote, vote.better, True, "")


def _label(vote: Vote, reply: str, wanted: bool, model: str) -> Row:
    spoken = [*vote.messages, {"role": "assistant", "content": reply}]
    return {"messages": spoken, "label": wanted, "model": model, "vote": vote.id}


def _whole(vote: Vote) -> Iterator[Row]:
    yield asdict(vote)


def _anything(row: Row, place: str) -> None:
    return None


KINDS: dict[str, Callable[[Vote], Iterator[Row]]] = {
    "preferences": _preferences,
    "rankings": _rankings,
    "labelled": _labelled,
    "votes": _whole,
}
_CHECKS: dict[str, Callable[[Row, str], object]] = {
    "preferences": comparison_of,
    "rankings": comparison_of,
    "labelled": labelled_of,
}
