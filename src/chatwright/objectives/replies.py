"""What the objectives over replies share: groups into tensors, and the log-probabilities of replies.

Shape suffixes: N sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.data.groups import Group, Reply, row_length
from chatwright.data.packing import IGNORE
from chatwright.objectives.contract import Batch


def collate_replies(groups: Sequence[Group]) -> Batch:
    """Sequences padded at their end, which causal attention never sees.

    `inputs` int64[N, T]; `targets` int64[N, T], the token after each input where it belongs to a reply, else IGNORE;
    `last` int64[N], the place of each sequence's last token; `group` int64[N]; every number of a reply as float32[N];
    every number of its tokens as float32[N, T], where the token is the target. Of a group that is not real nothing is
    a target.

    Where replies to one prompt stand behind one copy of it (`Group.rows`, `shared_rows`), `inputs` are rows of
    several sequences, and `targets` and the tokens' numbers are those of replies alone, [N, longest reply].
    """
    replies = [(index, group.real, reply) for index, group in enumerate(groups) for reply in group.replies]
    rows = [row for group in groups for row in group.rows()]
    if len(rows) < len(replies):
        arrays, firsts = shared_rows(rows), [0] * len(replies)
        width = arrays["places"].shape[1]
    else:
        width = max(len(reply.ids) for _, _, reply in replies)
        arrays, firsts = {"inputs": np.zeros((len(replies), width), np.int64)}, []
        for place, (_, _, reply) in enumerate(replies):
            arrays["inputs"][place, : len(reply.ids)] = reply.ids
            firsts.append(reply.start - 1)
        arrays["last"] = np.array([len(reply.ids) - 1 for _, _, reply in replies])
    arrays["targets"] = np.full((len(replies), width), IGNORE)
    arrays |= {name: np.zeros((len(replies), width), np.float32) for name in replies[0][2].tokens}
    for place, ((_, is_real, reply), first) in enumerate(zip(replies, firsts, strict=True)):
        size = len(reply.ids) - reply.start
        if is_real:
            arrays["targets"][place, first : first + size] = reply.ids[reply.start :]
        for name, values in reply.tokens.items():
            arrays[name][place, first : first + size] = values
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors["group"] = torch.tensor([index for index, _, _ in replies])
    for name in replies[0][2].numbers:
        tensors[name] = torch.tensor([reply.numbers[name] for _, _, reply in replies], dtype=torch.float32)
    real = [row for group in groups if group.real for row in group.rows()]
    return Batch(tensors, tokens=sum(map(row_length, real)))


def shared_rows(rows: Sequence[Sequence[Reply]]) -> dict[str, NDArray[Any]]:
    """Rows of a prompt and behind it its replies, each from the prompt's last token on, which predicts its first.

    `inputs`, `positions` and `branches` are int64[rows, T]: a branch is the number of a reply in its row from 1 on, 0 for
    the prompt, −1 for padding. `places` int64[N, R] is where in the flattened rows the tokens of a reply are predicted, 0
    where it has ended; `last` int64[N] where its last token stands.
    """
    length = max(map(row_length, rows))
    longest = max(len(reply.ids) - reply.start for row in rows for reply in row)
    blank = np.zeros((len(rows), length), np.int64)
    arrays = {"inputs": blank, "positions": blank.copy(), "branches": blank - 1}
    places, last = [], []
    for number, row in enumerate(rows):
        prompt = row[0].start - 1
        arrays["inputs"][number, :prompt] = row[0].ids[:prompt]
        arrays["positions"][number, :prompt] = np.arange(prompt)
        arrays["branches"][number, :prompt] = 0
        begin = prompt
        for branch, reply in enumerate(row, 1):
            size = len(reply.ids) - prompt
            arrays["inputs"][number, begin : begin + size] = reply.ids[prompt:]
            arrays["positions"][number, begin : begin + size] = np.arange(prompt, prompt + size)
            arrays["branches"][number, begin : begin + size] = branch
            where = number * length + begin + np.arange(longest)
            places.append(np.where(np.arange(longest) < size - 1, where, 0))
            begin += size
            last.append(number * length + begin - 1)
    return {**arrays, "places": np.stack(places), "last": np.array(last)}


def run_replies(
    root: nn.Module, batch: Batch | Mapping[str, Tensor], outputs: tuple[str, ...], temperature: float = 1.0
) -> dict[str, Tensor]:
    """What a root says of the replies of a batch: `logprobs` and `entropy` [N, T] of the targets, 0 where there is none;
    `scores` [N, T, K] at the position that predicts each of them."""
    found: dict[str, Tensor] = _run(root, batch, outputs, temperature)
    if not _is_shared(batch):
        return found
    places_NR, ended_NR = batch["places"], batch["targets"] == IGNORE
    gathered = {name: table.flatten(0, 1)[places_NR] for name, table in found.items()}
    return {
        name: table if name == "scores" else table.masked_fill(ended_NR, 0.0)
        for name, table in gathered.items()
    }


def last_scores(root: nn.Module, batch: Batch | Mapping[str, Tensor]) -> Tensor:
    """The scores at each sequence's last token, [N, K] float32."""
    scores = _run(root, batch, ("scores",), 1.0)["scores"]
    last_N = batch["last"]
    if _is_shared(batch):
        return scores.flatten(0, 1)[last_N]
    return scores[torch.arange(len(last_N), device=last_N.device), last_N]


def _run(
    root: nn.Module, batch: Batch | Mapping[str, Tensor], outputs: tuple[str, ...], temperature: float
) -> dict[str, Tensor]:
    inputs, targets = batch["inputs"], batch["targets"]
    more: dict[str, Any] = {}
    if _is_shared(batch):
        flat = torch.full((inputs.numel(),), IGNORE, dtype=targets.dtype, device=targets.device)
        is_learnt = targets != IGNORE
        flat[batch["places"][is_learnt]] = targets[is_learnt]
        targets = flat.view(inputs.shape)
        more = {"mask": branch_mask(batch["branches"]), "positions": batch["positions"]}
    if temperature != 1.0:
        more["temperature"] = temperature
    found: dict[str, Tensor] = root(inputs, targets=targets, outputs=outputs, **more)
    return found


def branch_mask(branches_BT: Tensor) -> Tensor:
    """True where a query (row) may see a key (column): not later, in the prompt or in the same reply. [B, T, T]."""
    length = branches_BT.size(1)
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches_BT.device).tril()
    key = branches_BT[:, None, :]
    return earlier & ((key == 0) | (key == branches_BT[:, :, None]))


def _is_shared(batch: Batch | Mapping[str, Tensor]) -> bool:
    return "places" in (batch.tensors if isinstance(batch, Batch) else batch)


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
