"""How many replies are right to the letter: chats with a known last message, answered greedily."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chatwright.data.records import Chat
from chatwright.errors import UserError
from chatwright.generation.engine import Ids
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel, replies
from chatwright.tokenization.stream import Utf8Stream
from chatwright.tokenization.tokenizer import Tokenizer

_SHOWN_MISSES = 5


@dataclass(frozen=True)
class Share:
    """So many right of so many, with the Wilson 95 % interval (Wilson 1927) of the share."""

    right: int
    total: int

    @property
    def value(self) -> float:
        return self.right / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.right, self.total)


@dataclass(frozen=True)
class Miss:
    """A question whose reply was not the expected one."""

    source: str
    question: str
    expected: str
    reply: str


@dataclass(frozen=True)
class ExactMatch:
    """The share of exact replies, in all and by the chats' `source`; a few misses, spread over all of them."""

    overall: Share
    by_source: dict[str, Share]
    misses: tuple[Miss, ...]
    right: tuple[bool, ...]


def wilson_interval(right: float, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a share that holds its true value with 95 % confidence (z: the normal quantile)."""
    if total == 0:
        return 0.0, 1.0
    share, extra = right / total, z * z / total
    middle = (share + extra / 2) / (1 + extra)
    reach = z / (1 + extra) * math.sqrt(share * (1 - share) / total + extra / (4 * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def exact_match(
    model: TextModel,
    rows: Sequence[Chat],
    on_progress: Callable[[int], None] | None = None,
    shown_misses: int = _SHOWN_MISSES,
) -> ExactMatch:
    """Answer each chat up to its last message, greedily, and compare with that message, letter by letter.

    `on_progress(n)` hears how many chats are answered. Raises UserError for a chat whose last message is not the
    assistant's.
    """
    for row in rows:
        if not row.messages or row.messages[-1].role != "assistant":
            raise UserError(
                f"{row.source or 'a chat'} does not end with an assistant message to compare with"
            )
    right = _right(model, rows, on_progress)
    wrong = [row for row, matches in zip(rows, right, strict=True) if not matches]
    sources = sorted({row.source for row in rows})
    by_source = {
        source: _share(matches for row, matches in zip(rows, right, strict=True) if row.source == source)
        for source in sources
    }
    return ExactMatch(_share(right), by_source, _misses(model, wrong, shown_misses), tuple(right))


def _share(right: Iterable[bool]) -> Share:
    values = list(right)
    return Share(sum(values), len(values))


def _right(model: TextModel, rows: Sequence[Chat], on_progress: Callable[[int], None] | None) -> list[bool]:
    renderer = model.chat_renderer()
    prompts = [renderer.prompt(row.messages[:-1]).tolist() for row in rows]
    checks = [_Check(model.tokenizer, row.messages[-1].content) for row in rows]
    # A token stands for a byte at least, so no answer is cut before its end.
    longest = max((len(row.messages[-1].content.encode()) for row in rows), default=0)
    options = SamplingOptions(max_new_tokens=longest + 1, temperature=0.0)

    def stops(index: int, ids: Ids) -> bool:
        return not checks[index].feed(ids[-1])

    answers = model.generate(prompts, options, stops=stops, on_progress=on_progress)
    ends = model.vocabulary.end_ids
    return [
        answer.ids[-1] in ends and check.is_complete() for answer, check in zip(answers, checks, strict=True)
    ]


class _Check:
    """Compares a reply with what is expected while it is written, so that a wrong one ends early."""

    def __init__(self, tokenizer: Tokenizer, expected: str) -> None:
        self._characters = Utf8Stream(tokenizer)
        self._expected, self._place, self._holds = expected, 0, True

    def feed(self, token: int) -> bool:
        """Whether the reply is still as expected."""
        self._compare(self._characters.feed(token))
        return self._holds

    def is_complete(self) -> bool:
        """Whether the reply, now at its end, is what was expected."""
        self._compare(self._characters.flush())
        return self._holds and self._place == len(self._expected)

    def _compare(self, piece: str) -> None:
        self._holds = self._holds and self._expected.startswith(piece, self._place)
        self._place += len(piece)


def _misses(model: TextModel, wrong: Sequence[Chat], count: int) -> tuple[Miss, ...]:
    chosen = [wrong[place * len(wrong) // count] for place in range(count)] if len(wrong) > count else wrong
    if not chosen:
        return ()
    written = replies(model, [row.messages[:-1] for row in chosen], temperature=0.0, max_new_tokens=64)
    return tuple(
        Miss(
            row.source,
            row.messages[-2].content if len(row.messages) > 1 else "",
            row.messages[-1].content,
            reply,
        )
        for row, reply in zip(chosen, written, strict=True)
    )
