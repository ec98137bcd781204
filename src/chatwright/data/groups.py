"""Rows of alignment: replies to a prompt, in groups that no partition of a batch may separate.

A row of text is cut to a length; here a row is a group of whole sequences, prompt and reply, with numbers that belong
to the reply or to each of its tokens. All pairs of a prompt's replies, and a baseline's neighbours, stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reply:
    """A prompt and one reply to it, n tokens in all.

    `ids` int64[n]; `start`, from 1 to n, is where the reply begins; `numbers` holds one value for the reply, `tokens`
    float32[n - start] each, one for every token of the reply.
    """

    ids: NDArray[np.int64]
    start: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert 1 <= self.start <= len(self.ids), (self.start, len(self.ids))


@dataclass(frozen=True)
class Group:
    """Replies that are learnt from together. A group that is not `real` fills a place and counts nothing."""

    replies: tuple[Reply, ...]
    real: bool = True

    def blank(self) -> Group:
        """A group of this shape that counts nothing."""
        return replace(self, real=False)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(len(reply.ids) for reply in self.replies)

    @property
    def size(self) -> int:
        """Tokens of all sequences."""
        return sum(len(reply.ids) for reply in self.replies)


def by_tokens(most: int) -> Callable[[Sequence[Group]], list[list[Group]]]:
    """Micro-batches of groups of like length, each padded to at most `most` positions (but at least one group)."""

    def cut(groups: Sequence[Group]) -> list[list[Group]]:
        return list(_by_tokens(groups, most))

    return cut


def _by_tokens(groups: Sequence[Group], most: int) -> Iterator[list[Group]]:
    part: list[Group] = []
    sequences = longest = 0
    for group in sorted(groups, key=lambda group: group.longest):
        sequences, longest = sequences + len(group.replies), max(longest, group.longest)
        if part and sequences * longest > most:
            yield part
            part, sequences, longest = [], len(group.replies), group.longest
        part.append(group)
    if part:
        yield part
