"""Labelled replies as rows with a baseline: neighbours of the epoch's order in one group, which no partition splits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from chatwright.data.group_store import GroupRows
from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError

_FARTHEST = 64


class MergedRows:
    """About `together` groups of one reply each as one row, and each reply once more as a stranger: after the prompt of
    another example. An epoch has every reply once; no row is shorter than `together` unless the whole store is.

    Strangers carry the number `stranger` = 1, the others 0. The number `stranger_reference` of a reply is the
    `reference` of its stranger. A stranger's prompt loses its beginning where it would pass `longest` tokens.
    """

    def __init__(self, rows: GroupRows, together: int, longest: int) -> None:
        if together < 1:
            raise UserError(f"rows of {together} replies cannot be made; give at least 1")
        assert rows.store.num_groups == rows.store.num_sequences, "a group has more than one reply"
        self._rows, self._together, self._longest = rows, together, longest
        self.store = rows.store

    def rows_in_epoch(self, epoch: int) -> int:
        return max(1, self._rows.rows_in_epoch(epoch) // self._together)

    def row(self, epoch: int, index: int) -> Group:
        """The labelled replies, then their strangers."""
        count = self._rows.rows_in_epoch(epoch)
        edges = np.linspace(0, count, self.rows_in_epoch(epoch) + 1).astype(int)
        begin, end = list(pairwise(edges.tolist()))[index]
        places = [self._rows.place(epoch, entry) for entry in range(begin, end)]
        own = [_marked(self.store.reply(place), 0.0) for place in places]
        return Group((*own, *map(self.stranger, places)))

    def stranger(self, place: int) -> Reply:
        """A reply after the prompt of the next example in the store that was asked something else."""
        reply, prompt = self.store.reply(place), self._other_prompt(place)
        answer = reply.ids[reply.start :]
        prompt = prompt[-max(1, self._longest - len(answer)) :]
        numbers = dict(reply.numbers)
        if "stranger_reference" in numbers:
            numbers["reference"] = numbers["stranger_reference"]
        return _marked(Reply(np.concatenate([prompt, answer]), len(prompt), numbers), 1.0)

    def _other_prompt(self, place: int) -> np.ndarray:
        own = _prompt(self.store.reply(place))
        count = self.store.num_sequences
        prompt = own
        for step in range(1, min(count, _FARTHEST)):
            prompt = _prompt(self.store.reply((place + step) % count))
            if not np.array_equal(prompt, own):
                break
        return prompt


def _prompt(reply: Reply) -> np.ndarray:
    return reply.ids[: reply.start]


def _marked(reply: Reply, stranger: float) -> Reply:
    numbers = {name: value for name, value in reply.numbers.items() if name != "stranger_reference"}
    return replace(reply, numbers={**numbers, "stranger": stranger})
