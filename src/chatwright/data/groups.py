"""Rows of alignment: replies to a prompt, in groups that no partition of a batch may separate.

A row of text is cut to a length; here a row is a group of whole sequences, prompt and reply, with numbers that belong
to the reply or to each of its tokens. All pairs of a prompt's replies, and a baseline's neighbours, stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

# A row of several replies is no longer than this, and sharing is worth it from this share of a sequence on.
_LONGEST_SHARED, _LEAST_SAVED = 1024, 0.2


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
    """Replies that are learnt from together. A group that is not `real` fills a place and counts nothing; one that is not
    `shared` keeps each reply in a row of its own."""

    replies: tuple[Reply, ...]
    real: bool = True
    shared: bool = True

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

    def rows(self) -> list[tuple[Reply, ...]]:
        """The replies that stand in a row together: neighbours behind one copy of their prompt, where that saves enough and
        the row does not grow too long for attention."""
        if not self.shared:
            return [(reply,) for reply in self.replies]
        rows: list[tuple[Reply, ...]] = []
        for reply in self.replies:
            if rows and _share(rows[-1], reply):
                rows[-1] = (*rows[-1], reply)
            else:
                rows.append((reply,))
        return rows


def by_prompt(replies: Iterable[Reply]) -> list[Group]:
    """Groups of the replies that have one prompt and share a row, in the order of the prompts' first. Such replies need not
    be learnt from together, so more than a row holds are several groups."""
    found: dict[tuple[int, bytes], list[Reply]] = {}
    for reply in replies:
        found.setdefault((reply.start, reply.ids[: reply.start].tobytes()), []).append(reply)
    return [Group(row) for together in found.values() for row in Group(tuple(together)).rows()]


def row_length(row: Sequence[Reply]) -> int:
    """Positions of a row: the prompt without its last token once, and behind it each reply behind that token."""
    prompt = row[0].start - 1
    return prompt + sum(len(reply.ids) - prompt for reply in row)


def _share(row: tuple[Reply, ...], reply: Reply) -> bool:
    first = row[0]
    own = len(reply.ids) - reply.start + 1
    if reply.start != first.start or row_length(row) + own > _LONGEST_SHARED:
        return False
    if reply.start - 1 < _LEAST_SAVED * len(reply.ids):
        return False
    return bool((reply.ids[: reply.start] == first.ids[: first.start]).all())


def by_tokens(most: int) -> Callable[[Sequence[Group]], list[list[Group]]]:
    """Micro-batches of groups of like length, each padded to at most `most` positions (but at least one group)."""

    def cut(groups: Sequence[Group]) -> list[list[Group]]:
        return list(_by_tokens(groups, most))

    return cut


def _by_tokens(groups: Sequence[Group], most: int) -> Iterator[list[Group]]:
    part: list[Group] = []
    count = longest = 0
    sized = [(group, [row_length(row) for row in group.rows()]) for group in groups]
    for group, lengths in sorted(sized, key=lambda sized: max(sized[1])):
        count, longest = count + len(lengths), max(longest, *lengths)
        if part and count * longest > most:
            yield part
            part, count, longest = [], len(lengths), max(lengths)
        part.append(group)
    if part:
        yield part
