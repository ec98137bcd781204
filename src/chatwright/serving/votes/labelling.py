"""The labelling queue: prompts from a file with the replies that people rank."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally, encodable
from chatwright.data.formats import Row, SkipRow
from chatwright.data.preference_formats import COMPARISONS, format_of
from chatwright.data.preferences import prompt_of
from chatwright.data.record_stream import stream_records
from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.serving.votes.records import Item, Sampling

MOST_REPLIES = 26


def read_items(path: str | Path, skipped: Tally | None = None) -> Iterator[Item]:
    """Stream the items of a file of JSON Lines, JSON or Parquet.

    A row is a prompt alone, whose replies are then sampled; a prompt with `replies`; a comparison in any known format,
    whose ranks are not looked at; or an open comparison as the judge `people` writes it. `skipped` counts what is left
    out by reason. Raises UserError where nothing is left.
    """
    return stream_records(
        path, skipped, lambda row, place: [item_of(row, place)], "there is nothing to label"
    )


def item_of(row: Row, place: str) -> Item:
    """The item of a row. Raises SkipRow for one that nobody can rank, UserError for an unknown layout."""
    if set(row) <= {"how", "说明"}:
        raise SkipRow("explanation")
    lettered = row.get("replies")
    if isinstance(lettered, dict):
        row = {**row, "replies": list(lettered.values())}
    try:
        if any(format.matches(row) for format in COMPARISONS.values()):
            found = format_of(row, COMPARISONS, "comparisons").read(row)
            return item(found.prompt, found.replies, source=place)
        return item(prompt_of(row, place).messages, source=place)
    except UserError as error:
        said = str(error)
        raise UserError(said if said.startswith(place) else f"{place}: {said}") from None


def item(
    messages: Iterable[Message],
    replies: Sequence[str] = (),
    models: Sequence[str] = (),
    samplings: Sequence[Sampling] = (),
    source: str = "",
) -> Item:
    """An item of the different replies, shuffled: the order in which they stand tells nobody where each came from.

    Raises SkipRow where there are replies and no two differ, or more than people can look through.
    """
    said = [{"role": message.role, "content": encodable(message.content)} for message in messages]
    makers = list(models) or [""] * len(replies)
    ways = list(samplings) or [{}] * len(replies)
    different: dict[str, tuple[str, str, Sampling]] = {}
    for reply, model, sampling in zip(replies, makers, ways, strict=True):
        different.setdefault(reply.strip(), (encodable(reply), model, sampling))
    if replies and len(different) < 2:
        raise SkipRow("no two different replies")
    if len(different) > MOST_REPLIES:
        raise SkipRow(f"more than {MOST_REPLIES} replies")
    made = shuffled(list(different.values()), said)
    return Item(
        said,
        [text for text, _, _ in made],
        [model for _, model, _ in made],
        [way for *_, way in made],
        source,
    )


def shuffled(replies: list[tuple[str, str, Sampling]], messages: Any) -> list[tuple[str, str, Sampling]]:
    """The replies in an order that depends on their texts and the conversation, and not on how they came in."""
    order = sorted(replies, key=lambda one: one[0])
    random.Random(f"{messages} {[text for text, *_ in order]}").shuffle(order)
    return order
