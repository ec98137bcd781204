"""What the objectives over replies share: groups into tensors, and the log-probabilities of replies.

Shape suffixes: N sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chatwright.data.groups import Group, Reply
from chatwright.data.packing import IGNORE
from chatwright.objectives.contract import Batch


def collate_replies(groups: Sequence[Group]) -> Batch:
    """Sequences padded at their end, which causal attention never sees.

    `inputs` int64[N, T]; `targets` int64[N, T], the token after each input where it belongs to a reply, else IGNORE;
    `last` int64[N], the place of each sequence's last token; `group` int64[N]; every number of a reply as float32[N];
    every number of its tokens as float32[N, T], where the token is the target. Of a group that is not real nothing is
    a target.
    """
    replies = [(index, group.real, reply) for index, group in enumerate(groups) for reply in group.replies]
    count, longest = len(replies), max(len(reply.ids) for _, _, reply in replies)
    arrays = {"inputs": np.zeros((count, longest), np.int64), "targets": np.full((count, longest), IGNORE)}
    arrays |= {name: np.zeros((count, longest), np.float32) for name in replies[0][2].tokens}
    for row, (_, is_real, reply) in enumerate(replies):
        size, first = len(reply.ids), reply.start - 1
        arrays["inputs"][row, :size] = reply.ids
        if is_real:
            arrays["targets"][row, first : size - 1] = reply.ids[reply.start :]
        for name, values in reply.tokens.items():
            arrays[name][row, first : size - 1] = values
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors["last"] = torch.tensor([len(reply.ids) - 1 for _, _, reply in replies])
    tensors["group"] = torch.tensor([index for index, _, _ in replies])
    for name in replies[0][2].numbers:
        tensors[name] = torch.tensor([reply.numbers[name] for _, _, reply in replies], dtype=torch.float32)
    return Batch(tensors, tokens=sum(group.size for group in groups if group.real))


def targets_mask(batch: Batch) -> Tensor:
    """True at the tokens of real replies, [N, T]."""
    return batch["targets"] != IGNORE


def example_groups(
    replies: int, count: int = 12, numbers: Sequence[str] = (), tokens: Sequence[str] = ()
) -> list[Group]:
    """Groups of uneven replies for the conformance test, with made-up numbers."""
    rng = np.random.default_rng(0)
    groups = []
    for _ in range(count):
        prompt = rng.integers(0, 60, rng.integers(2, 8))
        made = []
        for rank in range(replies):
            reply = rng.integers(0, 60, rng.integers(2, 9))
            values = {name: float(rng.normal()) for name in numbers}
            per_token = {name: rng.normal(size=len(reply)).astype(np.float32) for name in tokens}
            ids = np.concatenate([prompt, reply])
            made.append(Reply(ids, len(prompt), {"rank": float(rank), **values}, per_token))
        groups.append(Group(tuple(made)))
    return groups
