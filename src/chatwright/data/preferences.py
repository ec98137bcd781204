"""Comparisons, labelled replies and prompts from files of rows, streamed; what is left out is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatwright.corpora.documents import Tally
from chatwright.data.formats import Row, SkipRow
from chatwright.data.preference_formats import COMPARISONS, LABELLED, PROMPTS, format_of, number_of
from chatwright.data.record_stream import Paths, stream_records
from chatwright.data.records import Comparison, LabelledReply, Message, Prompt
from chatwright.errors import UserError


def comparison_of(row: Row, place: str) -> Comparison:
    """The comparison of a row in any known format, with `place` (`file:line`) as its source.

    Its ranks count from 0. Raises `SkipRow` with the reason for one that teaches nothing (empty or identical replies,
    all tied, a margin that is negative or not finite, a prompt that asks for nothing), and `UserError` for a layout
    that nobody knows.
    """
    with _at(place):
        prompt, replies, ranks = format_of(row, COMPARISONS, "comparisons").read(row)
        margin = _margin(row)
    found = Comparison(_checked(prompt), tuple(replies), tuple(ranks), margin, place)
    if not all(reply.strip() for reply in replies):
        raise SkipRow("empty reply")
    pairs = list(found.pairs())
    if not pairs:
        raise SkipRow("no reply is better than another")
    if any(replies[better].strip() == replies[worse].strip() for better, worse in pairs):
        raise SkipRow("identical replies")
    return found


def labelled_of(row: Row, place: str) -> LabelledReply:
    """The reply of a row with a label: the last message of a chat in any known format. Raises as `comparison_of`."""
    with _at(place):
        messages, wanted = format_of(row, LABELLED, "labelled replies").read(row)
    if not messages or messages[-1].role != "assistant":
        raise SkipRow("reply that is not the assistant's")
    reply = messages[-1].content
    if not reply.strip():
        raise SkipRow("empty reply")
    return LabelledReply(_checked(messages[:-1]), reply, wanted, place)


def labelled_from(comparison: Comparison) -> list[LabelledReply]:
    """The replies of a comparison, labelled: the best are wanted, all others are not."""
    best = min(comparison.ranks)
    return [
        LabelledReply(comparison.prompt, reply, rank == best, comparison.source)
        for reply, rank in zip(comparison.replies, comparison.ranks, strict=True)
    ]


def prompt_of(row: Row, place: str) -> Prompt:
    """The prompt of a row in any known format; the fields that are no part of it are its facts.

    A reply that ends a chat is its fact `answer`, unless the row has that field. Raises as `comparison_of`.
    """
    with _at(place):
        format = format_of(row, PROMPTS, "prompts")
        messages, answer = format.read(row)
    facts = {key: value for key, value in row.items() if key not in format.keys}
    if answer is not None and facts.get("answer") is None:
        facts["answer"] = answer
    return Prompt(_checked(messages), facts, place)


def read_comparisons(paths: Paths, skipped: Tally | None = None) -> Iterator[Comparison]:
    """Stream the comparisons of JSON Lines, JSON (each also `.gz`, `.zst`) and Parquet files, or folders of them.

    Every row may have any known format. `skipped` counts rows left out by reason, with the first place of each.
    Raises `UserError` for a missing, empty or wholly broken file, for rows of an unknown format, and when nothing is
    left at all.
    """
    return stream_records(
        paths, skipped, lambda row, place: [comparison_of(row, place)], "there is no comparison to learn from"
    )


def read_labelled(paths: Paths, skipped: Tally | None = None) -> Iterator[LabelledReply]:
    """Stream labelled replies, and those that comparisons give, as `read_comparisons` does."""
    return stream_records(paths, skipped, _labelled_in, "there is no labelled reply to learn from")


def read_prompts(paths: Paths, skipped: Tally | None = None) -> Iterator[Prompt]:
    """Stream prompts, as `read_comparisons` does."""
    return stream_records(
        paths, skipped, lambda row, place: [prompt_of(row, place)], "there is no prompt to learn from"
    )


def _labelled_in(row: Row, place: str) -> list[LabelledReply]:
    labelled = any(format.matches(row) for format in LABELLED.values())
    if not labelled and any(format.matches(row) for format in COMPARISONS.values()):
        return labelled_from(comparison_of(row, place))
    return [labelled_of(row, place)]


def _checked(prompt: list[Message]) -> tuple[Message, ...]:
    if not any(message.role == "user" and message.content.strip() for message in prompt):
        raise SkipRow("prompt without words of a user")
    if prompt[-1].role == "assistant":
        raise SkipRow("prompt that ends with an assistant message")
    return tuple(prompt)


def _margin(row: Row) -> float:
    margin = row.get("margin")
    if margin is None:
        return 0.0
    number = number_of(margin, "margin")
    if number < 0:
        raise SkipRow("negative margin")
    return number


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
