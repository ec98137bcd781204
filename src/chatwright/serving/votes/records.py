"""What the vote store holds: votes, comparisons that wait for one, and battles whose sides are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from chatwright.rewards.judges import digest

Kind: TypeAlias = Literal["thumb", "arena", "ranking"]
Side: TypeAlias = Literal["a", "b"]
Messages: TypeAlias = Sequence[Mapping[str, str]]
Sampling: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Vote:
    """What somebody said of replies to one conversation; `models` and `samplings` say where each reply came from.

    A thumb is about one reply: `value` 1 or -1, perhaps with a `better` answer. A vote of the arena or the labelling
    queue has `ranks`, one a reply, from 0, lower is better, equal is a tie; none where the voter could not say. Two bad
    replies in the arena are a tie of `value` -1. `created`: seconds since 1970; `name` is empty for an unnamed voter.
    """

    kind: Kind
    messages: Messages
    replies: Sequence[str]
    models: Sequence[str]
    samplings: Sequence[Sampling]
    ranks: Sequence[int] = ()
    value: int = 0
    reason: str = ""
    better: str = ""
    name: str = ""
    item: int | None = None
    created: float = 0.0
    id: int = 0


@dataclass(frozen=True)
class Item:
    """A conversation whose replies wait to be ranked, in the order in which they are shown.

    Without replies (`replies` is empty) they are sampled when somebody asks for the item.
    """

    messages: Messages
    replies: Sequence[str] = ()
    models: Sequence[str] = ()
    samplings: Sequence[Sampling] = ()
    source: str = ""
    id: int = 0

    @property
    def key(self) -> str:
        """Stands for the conversation and its replies, in whatever order."""
        return key_of(self.messages, self.replies)


@dataclass(frozen=True)
class Battle:
    """Two sides of the arena: the models and samplings behind a and b, and their replies so far (None: not yet)."""

    id: str
    messages: Messages
    models: tuple[str, str]
    samplings: tuple[Sampling, Sampling]
    replies: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True)
class Queue:
    """How far somebody is with the comparisons that wait, and the next of them."""

    done: int
    total: int
    item: Item | None = field(default=None)


def key_of(messages: Messages, replies: Sequence[str]) -> str:
    """64 hexadecimal digits for a conversation and a set of replies."""
    said = [[message["role"], message["content"]] for message in messages]
    return digest([said, sorted(set(replies))])
