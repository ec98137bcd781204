"""Forward passes over sampled replies, without gradients: log-probabilities and values of every reply token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.groups import Reply, by_prompt, by_tokens
from chatwright.models.root import Root
from chatwright.objectives.replies import collate_replies, run_replies, targets_mask

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
    is that of the position which predicts the token. Replies to one prompt go through behind one copy of it.
    """
    device = next(root.parameters()).device
    found: dict[str, list[Values]] = {name: [np.empty(0, np.float32)] * len(replies) for name in outputs}
    numbered = [Reply(r.ids, r.start, {"number": float(i)}) for i, r in enumerate(replies)]
    for part in by_tokens(micro_tokens)(by_prompt(numbered)):
        batch = collate_replies(part).to(device)
        got = run_replies(root, batch, outputs, temperature)
        is_reply = targets_mask(batch).cpu().numpy()
        for name in outputs:
            table = got[name][..., 0] if name == "scores" else got[name]
            rows = table.float().cpu().numpy()
            for row, real, number in zip(rows, is_reply, batch["number"].tolist(), strict=True):
                found[name][int(number)] = row[real]
    return found
