"""Comparisons and labelled replies into group stores: the one place where a prompt and a reply become ids."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from chatwright.data.encode import OnProgress
from chatwright.data.group_store import GROUPS, GroupStore, save_array
from chatwright.data.records import Comparison, LabelledReply, Message
from chatwright.data.store import write_store
from chatwright.errors import UserError
from chatwright.files import publishing
from chatwright.tokenization.chat import Rendered, Renderer

R = TypeVar("R", Comparison, LabelledReply)
Facts = Callable[[], Mapping[str, Any]]

_BATCH_RECORDS = 1024


class ReplyIds(NamedTuple):
    """The ids of a prompt, after which a reply begins, and of the reply through its end of turn; int32[n] each."""

    prompt: NDArray[np.int32]
    reply: NDArray[np.int32]


class _Rows(NamedTuple):
    """A record as sequences: the prompt, the replies, and for each name a number for each reply."""

    prompt: Sequence[Message]
    replies: Sequence[str]
    numbers: Mapping[str, Sequence[float]]
    source: str


def reply_ids(renderer: Renderer, prompt: Sequence[Message], reply: str) -> ReplyIds:
    """The ids of a prompt and of a reply to it; together they are the conversation up to the end of the reply's turn.

    Raises `UserError` when the template marks nothing of the reply as the assistant's, or when the prompt's ids are
    not the first of the conversation.
    """
    return replies_ids(renderer, [(prompt, reply)])[0]


def replies_ids(
    renderer: Renderer,
    pairs: Sequence[tuple[Sequence[Message], str]],
    place: Callable[[int], str] | None = None,
) -> list[ReplyIds]:
    """`reply_ids` for many (prompt, reply), encoded together; `place(i)` names pair i in errors."""
    rendered = renderer.render_batch(
        [[*prompt, Message("assistant", reply)] for prompt, reply in pairs], place
    )
    prompts: dict[tuple[Message, ...], NDArray[np.int32]] = {}
    stops = np.array(sorted(renderer.tokenizer.stop_ids), dtype=np.int32)
    found = []
    for index, ((messages, _), conversation) in enumerate(zip(pairs, rendered, strict=True)):
        asked = tuple(messages)
        try:
            if asked not in prompts:
                prompts[asked] = renderer.prompt(asked)
            found.append(_divided(prompts[asked], conversation, stops))
        except UserError as error:
            raise UserError(f"{place(index)}: {error}" if place else str(error)) from error
    return found


def _divided(prompt: NDArray[np.int32], conversation: Rendered, stops: NDArray[np.int32]) -> ReplyIds:
    ids, start = conversation.ids, len(prompt)
    if start == 0 or not np.array_equal(ids[:start], prompt):
        raise UserError(
            "the ids of the prompt are not the first ids of the conversation; "
            "let the chat template write before a reply what it writes for add_generation_prompt"
        )
    learnt = np.flatnonzero(conversation.mask[start:])
    if len(learnt) == 0:
        raise UserError(
            "the chat template marks nothing of the reply as the assistant's; "
            "put {% generation %} … {% endgeneration %} around its words"
        )
    # what the template writes after the end of a turn is not the model's
    ends = np.flatnonzero(np.isin(ids[start:], stops))
    last = int(ends[0]) if len(ends) else int(learnt[-1])
    return ReplyIds(prompt, ids[start : start + last + 1])


def encode_comparisons(
    records: Iterable[Comparison],
    renderer: Renderer,
    directory: str | Path,
    on_progress: OnProgress | None = None,
    facts: Facts | None = None,
) -> GroupStore:
    """A store with a group for each comparison; its replies carry the numbers `rank` and `margin`.

    `store.json` counts `text_bytes` (all) and `learnt_bytes` (replies). What cannot be rendered is a `UserError` that
    names its place. `on_progress(comparisons, bytes of text)` is called after each batch.
    """
    return _encode(records, _compared, renderer, directory, on_progress, facts)


def encode_labelled(
    records: Iterable[LabelledReply],
    renderer: Renderer,
    directory: str | Path,
    on_progress: OnProgress | None = None,
    facts: Facts | None = None,
) -> GroupStore:
    """A store with a group for each labelled reply, which carries the number `wanted`, 1 or 0; as `encode_comparisons`."""
    return _encode(records, _labelled, renderer, directory, on_progress, facts)


def _compared(record: Comparison) -> _Rows:
    numbers = {"rank": record.ranks, "margin": [record.margin] * len(record.replies)}
    return _Rows(record.prompt, record.replies, numbers, record.source)


def _labelled(record: LabelledReply) -> _Rows:
    return _Rows(record.prompt, [record.reply], {"wanted": [float(record.wanted)]}, record.source)


def _encode(
    records: Iterable[R],
    rows: Callable[[R], _Rows],
    renderer: Renderer,
    directory: str | Path,
    on_progress: OnProgress | None,
    facts: Facts | None,
) -> GroupStore:
    directory = Path(directory)
    totals = Counter[str]()
    offsets = array("q", [0])
    numbers: dict[str, array[float]] = {}

    def documents() -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        stream = map(rows, records)
        while batch := list(islice(stream, _BATCH_RECORDS)):
            yield from _sequences(batch, renderer, totals)
            for row in batch:
                offsets.append(offsets[-1] + len(row.replies))
                for name, values in row.numbers.items():
                    numbers.setdefault(name, array("f")).extend(values)
            if on_progress:
                on_progress(totals["groups"], totals["text_bytes"])
        if not totals["groups"]:
            raise UserError(f"nothing to put into {directory}: there is no record; check the input")

    with publishing(directory) as aside:
        write_store(
            aside,
            documents(),
            vocab_size=renderer.tokenizer.vocab_size,
            tokenizer=renderer.tokenizer.digest,
            facts=lambda: {**totals, **(facts() if facts else {})},
        )
        save_array(aside / f"{GROUPS}.npy", np.array(offsets, dtype=np.int64))
        for name, values in numbers.items():
            save_array(aside / f"{name}.npy", np.array(values, dtype=np.float32))
    return GroupStore.open(directory)


def _sequences(
    batch: Sequence[_Rows], renderer: Renderer, totals: Counter[str]
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
    """The ids and the mask of every reply of some records."""
    places = [
        row.source or f"record {totals['groups'] + n}" for n, row in enumerate(batch, 1) for _ in row.replies
    ]
    pairs = [(row.prompt, reply) for row in batch for reply in row.replies]
    sizes = renderer.tokenizer.token_bytes
    for prompt, reply in replies_ids(renderer, pairs, places.__getitem__):
        learnt = int(sizes[reply].sum())
        totals["learnt_bytes"] += learnt
        totals["text_bytes"] += learnt + int(sizes[prompt].sum())
        yield np.concatenate([prompt, reply]), np.arange(len(prompt) + len(reply)) >= len(prompt)
    totals["groups"] += len(batch)
