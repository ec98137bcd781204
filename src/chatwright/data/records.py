"""The records that training takes: plain values, whatever the file that they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Document:
    """A text, and where it came from."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class Message:
    """One turn; `role` is `system`, `user`, `assistant` or `tool`."""

    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """A conversation, and where it came from (`file:line`)."""

    messages: tuple[Message, ...]
    source: str = ""


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for the assistant, and what a reward may compare the reply with.

    `facts` are the other fields of its row, for example `answer`.
    """

    messages: tuple[Message, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Comparison:
    """Replies to one prompt and how somebody ranked them: a lower rank is better, equal ranks are ties.

    `margin` is how much better the better ones are, where the row says so (0: it does not).
    """

    prompt: tuple[Message, ...]
    replies: tuple[str, ...]
    ranks: tuple[int, ...]
    margin: float = 0.0
    source: str = ""

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(better, worse) for every two replies that are not tied."""
        for better, high in enumerate(self.ranks):
            yield from ((better, worse) for worse, low in enumerate(self.ranks) if high < low)


@dataclass(frozen=True)
class LabelledReply:
    """One reply that somebody wanted, or did not."""

    prompt: tuple[Message, ...]
    reply: str
    wanted: bool
    source: str = ""
