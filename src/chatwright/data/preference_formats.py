"""Rows of public preference files into prompts and replies: each format a detector and a converter in one table.

`COMPARISONS` rank replies to one prompt, `LABELLED` rows say of one reply whether it was wanted, and `PROMPTS` wait for
a reply. Of the formats that match a row the first in its table reads it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from chatwright.data.formats import FORMATS, Format, Row, SkipRow, text_of
from chatwright.data.records import Message
from chatwright.errors import UserError

T = TypeVar("T")
Messages = list[Message]


class Ranked(NamedTuple):
    """A prompt, the replies to it, and their ranks: from 0, lower is better, equal is a tie."""

    prompt: Messages
    replies: list[str]
    ranks: list[int]


class Labelled(NamedTuple):
    """A conversation whose last message is the reply, and whether the reply was wanted."""

    messages: Messages
    wanted: bool


class Asked(NamedTuple):
    """A prompt, and the reply that the row shows, if it shows one."""

    prompt: Messages
    answer: str | None = None


@dataclass(frozen=True)
class RowFormat(Generic[T]):
    """One layout of rows: `matches` looks at the keys, `read` converts, `example` is shown, `keys` are no facts."""

    matches: Callable[[Row], bool]
    read: Callable[[Row], T]
    example: str
    keys: frozenset[str] = frozenset()


def format_of(row: Row, table: Mapping[str, RowFormat[T]], what: str) -> RowFormat[T]:
    """The first format of the table that matches; where none does, a `UserError` that names those that would."""
    for format in table.values():
        if format.matches(row):
            return format
    keys = ", ".join(map(repr, row)) or "none"
    known = "; ".join(f"{name}: {format.example}" for name, format in table.items())
    raise UserError(f"no format of {what} has the keys {keys}; known are {known}")


def _given(row: Row, *keys: str) -> bool:
    """Whether the row has all the keys; columns of Parquet files hold None where a row has no value."""
    return all(row.get(key) is not None for key in keys)


def _spoken(value: Any, role: str) -> Messages:
    """Text as one message of that role; or a message, or a list of them, as OpenAI or ShareGPT name the fields."""
    turns = [value] if isinstance(value, Mapping) else value
    if (
        isinstance(turns, list)
        and turns
        and isinstance(turns[0], Mapping)
        and {"role", "from"} & set(turns[0])
    ):
        return _turns(turns)
    return [Message(role, text_of(value))]


def _turns(turns: Any) -> Messages:
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise UserError("every message should be an object with 'role' and 'content', or 'from' and 'value'")
    return FORMATS["sharegpt"].messages({"conversations": turns})


def _framed(messages: Messages, row: Row) -> Messages:
    """The messages with the row's `system` text and `tools` in their system message."""
    if not row.get("system") and not row.get("tools"):
        return messages
    turns = [asdict(message) for message in messages]
    return FORMATS["sharegpt"].messages({**row, "conversations": turns})


def _instructed(row: Row) -> Messages:
    """The prompt of an Alpaca row, without its system text."""
    return FORMATS["alpaca"].messages({**row, "system": None, "output": ""})[:-1]


def _ending(value: Any) -> Messages:
    """A reply, perhaps with the conversation before it."""
    if isinstance(value, bool | int | float):
        raise SkipRow(f"reply that is not text (a {type(value).__name__})")
    return _spoken(value, "assistant")


def _ranked(row: Row, prompt: Messages, endings: Sequence[Messages], ranks: list[int]) -> Ranked:
    """The replies are the last messages of `endings`; what all endings begin with belongs to the prompt."""
    if not all(endings):
        raise SkipRow("empty reply")
    if any(ending[:-1] != endings[0][:-1] for ending in endings):
        raise SkipRow("the replies part before their last message")
    if any(ending[-1].role != "assistant" for ending in endings):
        raise SkipRow("reply that is not the assistant's")
    joined = _joined(prompt, endings[0][:-1])
    return Ranked(_framed(joined, row), [ending[-1].content for ending in endings], ranks)


def _joined(prompt: Messages, common: Messages) -> Messages:
    """The prompt and what the replies' conversations begin with, where that may say the prompt again."""
    if not common or common[-len(prompt) :] == prompt:
        return common or prompt
    overlaps = range(min(len(prompt), len(common)), 0, -1)
    overlap = next((size for size in overlaps if prompt[-size:] == common[:size]), 0)
    if not overlap and prompt and prompt[-1].role != "system" and common[0].role in ("system", "user"):
        raise SkipRow("the prompt is not the beginning of its replies' conversation")
    return [*prompt, *common[overlap:]]


def _chosen_first(prompt: Callable[[Row], Messages], row: Row) -> Ranked:
    return _ranked(row, prompt(row), [_ending(row["chosen"]), _ending(row["rejected"])], [0, 1])


def _asked_first(row: Row) -> Messages:
    return _spoken(row["prompt"] if _given(row, "prompt") else row["question"], "user")


def _dialogues(row: Row) -> Ranked:
    return _ranked(row, [], [_dialogue(row["chosen"]), _dialogue(row["rejected"])], [0, 1])


_SPEAKERS = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


def _dialogue(text: str) -> Messages:
    """The turns of "\\n\\nHuman: …\\n\\nAssistant: …"."""
    before, *turns = _SPEAKERS.split(text)
    if before.strip():
        raise SkipRow("dialogue that begins with neither Human: nor Assistant:")
    roles = {"Human": "user", "Assistant": "assistant"}
    said = zip(turns[::2], turns[1::2], strict=True)
    return [Message(roles[speaker], words.strip()) for speaker, words in said]


_REPLIES = ("replies", "responses", "completions")


def _is_ranking(row: Row) -> bool:
    # with `labels` the completions are the steps of one reply
    return (
        _given(row, "prompt") and "labels" not in row and any(isinstance(row.get(k), list) for k in _REPLIES)
    )


def _ranking(row: Row) -> Ranked:
    replies = next(row[key] for key in _REPLIES if isinstance(row.get(key), list))
    if len(replies) < 2:
        raise SkipRow("fewer than two replies")
    endings = [_ending(reply) for reply in replies]
    return _ranked(row, _spoken(row["prompt"], "user"), endings, _ranks(row, len(replies)))


def _ranks(row: Row, count: int) -> list[int]:
    """Ranks from 0 on: of `ranks` (lower is better), of `scores` (higher is better), or the order of the replies."""
    key = next((key for key in ("ranks", "scores") if _given(row, key)), None)
    if key is None:
        return list(range(count))
    values = row[key]
    if not isinstance(values, list) or len(values) != count:
        raise UserError(f"{key!r} should be a list of {count} numbers, one for each reply")
    numbers = [number_of(value, key[:-1]) for value in values]
    order = sorted(set(numbers), reverse=key == "scores")
    return [order.index(number) for number in numbers]


def number_of(value: Any, what: str) -> float:
    """The value as a number; a `UserError` where it is none, and `SkipRow` where it is not finite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UserError(f"the {what} should be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SkipRow(f"{what} that is not finite")
    return number


def _voted(row: Row) -> Ranked:
    """PandaLM (Wang et al. 2023): each annotator says 1 or 2 for the better response, or 0 for a tie."""
    votes = [vote for key, vote in row.items() if re.fullmatch(r"annotator\d+", key) and vote is not None]
    if not all(vote in (0, 1, 2) for vote in votes):
        raise UserError(f"the annotators should say 1, 2 or 0 (a tie), not {votes}")
    winner, count = Counter(votes).most_common(1)[0] if votes else (0, 0)
    if 2 * count <= len(votes):
        raise SkipRow("no majority of the annotators")
    if winner == 0:
        raise SkipRow("a tie for the annotators")
    ranks = [int(winner == 2), int(winner == 1)]
    return _ranked(row, _instructed(row), [_ending(row["response1"]), _ending(row["response2"])], ranks)


def _is_pair(row: Row) -> bool:
    return "chosen" in row and "rejected" in row


def _is_list(row: Row, key: str) -> bool:
    return isinstance(row.get(key), list)


def _are(kind: type) -> Callable[[Row], bool]:
    return lambda row: isinstance(row.get("chosen"), kind) and isinstance(row.get("rejected"), kind)


COMPARISONS: dict[str, RowFormat[Ranked]] = {
    "prompt": RowFormat(
        lambda row: _is_pair(row) and (_given(row, "prompt") or _given(row, "question")),
        partial(_chosen_first, _asked_first),
        '{"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, each text or a list of messages',
    ),
    "ranking": RowFormat(
        _is_ranking, _ranking, '{"prompt": "Hi", "replies": ["Hello", "Hm", "Go"], "ranks": [1, 2, 3]}'
    ),
    "conversations": RowFormat(
        lambda row: _is_pair(row) and _is_list(row, "conversations"),
        partial(_chosen_first, lambda row: _turns(row["conversations"])),
        '{"conversations": [{"from": "human", "value": "Hi"}], '
        '"chosen": {"from": "gpt", "value": "Hello"}, "rejected": {"from": "gpt", "value": "Go"}}',
    ),
    "messages": RowFormat(
        lambda row: _is_pair(row) and _is_list(row, "messages"),
        partial(_chosen_first, lambda row: _turns(row["messages"])),
        '{"messages": [{"role": "user", "content": "Hi"}], '
        '"chosen": {"role": "assistant", "content": "Hello"}, "rejected": {"role": "assistant", "content": "Go"}}',
    ),
    "alpaca": RowFormat(
        lambda row: _is_pair(row) and _given(row, "instruction"),
        partial(_chosen_first, _instructed),
        '{"instruction": "Greet", "input": "", "chosen": "Hello", "rejected": "Go"}',
    ),
    "two-conversations": RowFormat(
        _are(list),
        partial(_chosen_first, lambda row: []),
        '{"chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}], '
        '"rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Go"}]}',
    ),
    "hh-rlhf": RowFormat(
        _are(str),
        _dialogues,
        r'{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go"}',
    ),
    "pandalm": RowFormat(
        lambda row: {"instruction", "response1", "response2", "annotator1"} <= set(row),
        _voted,
        '{"instruction": "Greet", "input": "", "response1": "Hello", "response2": "Go", "annotator1": 1}',
    ),
}


def _label(row: Row) -> str | None:
    return next((key for key in ("kto_tag", "label") if key in row), None)


def _has_label(format: Format, row: Row) -> bool:
    return _label(row) is not None and format.matches(row)


def _labelled(format: Format, row: Row) -> Labelled:
    wanted = row[_label(row) or "label"]
    if wanted is None:
        raise SkipRow("reply without a label")
    if wanted not in (True, False):
        raise UserError(f"the label should be true or false, not {wanted!r}")
    return Labelled(format.messages(row), bool(wanted))


# a chat of any known format whose row has a label as well
LABELLED: dict[str, RowFormat[Labelled]] = {
    name: RowFormat(
        partial(_has_label, format),
        partial(_labelled, format),
        f'{format.example[:-1]}, "label": true}}',
    )
    for name, format in FORMATS.items()
}


def _prompted(row: Row) -> Asked:
    shown = next((row[key] for key in ("completion", "response", "output") if _given(row, key)), None)
    answer = None if shown is None else _spoken(shown, "assistant")[-1].content
    return Asked(_framed(_spoken(row["prompt"], "user"), row), answer)


def _spoken_so_far(key: str, row: Row) -> Asked:
    messages = _framed(_turns(row[key]), row)
    if messages and messages[-1].role == "assistant":
        return Asked(messages[:-1], messages[-1].content)
    return Asked(messages)


def _instruction(row: Row) -> Asked:
    answer = text_of(row["output"]) if _given(row, "output") else None
    return Asked(_framed(_instructed(row), row), answer)


def _compared(format: RowFormat[Ranked], row: Row) -> Asked:
    """What the conversations of a comparison without a prompt of its own begin with."""
    return Asked(format.read(row).prompt)


PROMPTS: dict[str, RowFormat[Asked]] = {
    "prompt": RowFormat(
        lambda row: _given(row, "prompt"),
        _prompted,
        '{"prompt": "What is 2 + 3?", "answer": "5"}, the prompt a text or a list of messages',
        frozenset({"prompt", "system", "tools"}),
    ),
    "messages": RowFormat(
        lambda row: _is_list(row, "messages"),
        partial(_spoken_so_far, "messages"),
        FORMATS["messages"].example,
        frozenset({"messages", "system", "tools"}),
    ),
    "conversations": RowFormat(
        lambda row: _is_list(row, "conversations"),
        partial(_spoken_so_far, "conversations"),
        FORMATS["sharegpt"].example,
        frozenset({"conversations", "system", "tools"}),
    ),
    "question": RowFormat(
        lambda row: _given(row, "question"),
        lambda row: Asked(_framed(_spoken(row["question"], "user"), row)),
        '{"question": "What is 2 + 3?", "answer": "5"}',
        frozenset({"question", "system", "tools"}),
    ),
    "alpaca": RowFormat(
        lambda row: _given(row, "instruction"),
        _instruction,
        '{"instruction": "Add", "input": "2 + 3", "output": "5"}',
        frozenset({"instruction", "input", "history", "output", "system", "tools"}),
    ),
    **{
        name: RowFormat(
            COMPARISONS[name].matches,
            partial(_compared, COMPARISONS[name]),
            COMPARISONS[name].example,
            frozenset({"system", "tools"}),
        )
        for name in ("two-conversations", "hh-rlhf")
    },
}
