"""Forward passes over sampled replies, without gradients: log-probabilities and values of every reply token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.groups import Group, Reply, by_tokens
from chatwright.models.root import Root
from chatwright.objectives.replies import collate_replies

Values = NDArray[np.float32]


@torch.no_grad()
def token_values(
    root: Root,
    replies: Sequence[Reply],
    outputs: tuple[str, ...],
    micro_tokens: int,
    temperature: float = 1.0,
) -> dict[str, list[Values]]:
    """`logprobs`, `entropy` and `scores` (of the first head) of each reply's tokens, float32[m] each.

    They are what the training pass itself would give for the same weights, so that a first ratio is exactly 1. A score
    is that of the position which predicts the token.
    """
    device = next(root.parameters()).device
    found: dict[str, list[Values]] = {name: [np.empty(0, np.float32)] * len(replies) for name in outputs}
    numbered = [Group((Reply(r.ids, r.start, {"number": float(i)}),)) for i, r in enumerate(replies)]
    for part in by_tokens(micro_tokens)(numbered):
        batch = collate_replies(part).to(device)
        got = root(batch["inputs"], targets=batch["targets"], outputs=outputs, temperature=temperature)
        for name in outputs:
            table = got[name][..., 0] if name == "scores" else got[name]
            rows = table.float().cpu().numpy()
            for row, group in zip(rows, part, strict=True):
                reply = group.replies[0]
                found[name][int(reply.numbers["number"])] = row[reply.start - 1 : len(reply.ids) - 1].copy()
    return found
