"""How good a reward model is: accuracy and calibration on held-out pairs, and an ensemble's disagreement.

Shape suffixes: P pairs, K heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.data.groups import Group
from chatwright.evaluation.winning import compared
from chatwright.models.scored import ScoredDecoder
from chatwright.rewards.model import raw_scores

_BINS = 10


@dataclass(frozen=True)
class PairScores:
    """Raw scores of the better and the worse reply of each pair, float64[P, K] each."""

    better: NDArray[np.float64]
    worse: NDArray[np.float64]


def score_pairs(model: ScoredDecoder, groups: Sequence[Group]) -> PairScores:
    """Score every pair of every group that is ranked."""
    replies = [reply for group in groups for reply in group.replies]
    starts = [reply.start for reply in replies]
    scores = raw_scores(model, [reply.ids for reply in replies], starts=starts)
    better, worse, at = [], [], 0
    for group in groups:
        ranks = [reply.numbers["rank"] for reply in group.replies]
        pairs = [(i, j) for i, high in enumerate(ranks) for j, low in enumerate(ranks) if high < low]
        better += [at + i for i, _ in pairs]
        worse += [at + j for _, j in pairs]
        at += len(ranks)
    return PairScores(scores[better], scores[worse])


def judged(pairs: PairScores) -> dict[str, Any]:
    """`accuracy`, in which a tie counts half, with its `accuracy_interval` (95 %, Wilson), `loss` in nats, `calibration`
    and `calibration_error`, and for an ensemble `disagreement`, the mean deviation of the heads' differences."""
    differences_PK = pairs.better - pairs.worse
    differences_P = differences_PK.mean(axis=1)
    won = compared(differences_P.tolist(), [0.0] * len(differences_P))
    found = {
        "accuracy": won.rate,
        "accuracy_interval": list(won.interval),
        "loss": float(np.logaddexp(0.0, -differences_P).mean()) if len(differences_P) else math.nan,
        **calibration(differences_P),
    }
    if differences_PK.shape[1] > 1:
        found["disagreement"] = float(differences_PK.std(axis=1).mean())
    return found


def calibration(differences_P: NDArray[np.float64], bins: int = _BINS) -> dict[str, Any]:
    """How often the surer side is right, against how sure it is: σ(|d|) from ½ to 1 in bins of equal width.

    `calibration` lists the bins that hold pairs; `calibration_error` is the mean distance, weighted by their counts
    (Naeini et al. 2015, expected calibration error).
    """
    sure = 1 / (1 + np.exp(-np.abs(differences_P)))
    # a tie is not sure at all, and right by half
    right = (1 + np.sign(differences_P)) / 2
    place = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
    listed = [
        {
            "predicted": float(sure[place == b].mean()),
            "observed": float(right[place == b].mean()),
            "count": int((place == b).sum()),
        }
        for b in range(bins)
        if (place == b).any()
    ]
    distance = sum(b["count"] * abs(b["predicted"] - b["observed"]) for b in listed)
    return {"calibration": listed, "calibration_error": distance / max(1, len(differences_P))}
