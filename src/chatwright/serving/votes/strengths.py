"""How strong models are, from who won against whom: Bradley and Terry's model (1952), ties as half a win each.

Shape suffix: M models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_POINTS = 400 / math.log(10)
_MIDDLE = 1000.0
_STEPS, _NEAR = 100, 1e-10
# Half a win and half a loss against a model of average strength keep who never lost from being endlessly strong.
_PRIOR = 1.0
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Strength:
    """A model on Elo's scale, 1000 in the middle, 400 points for odds of ten to one; with its 95 % interval."""

    name: str
    points: float
    interval: tuple[float, float]
    games: int


def strengths(games: Sequence[tuple[str, str, float]]) -> list[Strength]:
    """Strengths, the strongest first, from games (one, other, share of the win that `one` got: 1, ½ or 0).

    The probability that one wins is σ(s_one − s_other). Intervals are those of the normal distribution around the most
    probable strengths (Laplace), under a prior of one tie against an average model.
    """
    names = sorted({name for one, other, _ in games for name in (one, other)})
    place = {name: number for number, name in enumerate(names)}
    won_MM = np.zeros((len(names), len(names)))
    for one, other, share in games:
        won_MM[place[one], place[other]] += share
        won_MM[place[other], place[one]] += 1 - share
    found_M, deviation_M = _fit(won_MM)
    played_M = won_MM.sum(axis=0) + won_MM.sum(axis=1)
    order = np.argsort(-found_M, kind="stable")
    return [
        Strength(
            names[m],
            _MIDDLE + _POINTS * float(found_M[m]),
            tuple(_MIDDLE + _POINTS * float(found_M[m] + side * deviation_M[m]) for side in (-1, 1)),  # type: ignore[arg-type]
            round(float(played_M[m])),
        )
        for m in order
    ]


def _fit(won_MM: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The most probable strengths and the half width of their intervals, by Newton's method."""
    count = len(won_MM)
    games_MM = won_MM + won_MM.T
    s_M = np.zeros(count)
    hessian_MM = np.eye(count)
    for _ in range(_STEPS):
        p_MM = 1 / (1 + np.exp(s_M[None, :] - s_M[:, None]))
        q_M = 1 / (1 + np.exp(-s_M))
        gradient_M = won_MM.sum(axis=1) - (games_MM * p_MM).sum(axis=1) + _PRIOR * (0.5 - q_M)
        weight_MM = games_MM * p_MM * (1 - p_MM)
        hessian_MM = np.diag(weight_MM.sum(axis=1) + _PRIOR * q_M * (1 - q_M)) - weight_MM
        step_M = np.linalg.solve(hessian_MM, gradient_M)
        # far from the answer a whole step may overshoot
        s_M = s_M + step_M / max(1.0, float(np.abs(step_M).max(initial=0.0)))
        if np.abs(step_M).max(initial=0.0) < _NEAR:
            break
    return s_M, _NORMAL_95 * np.sqrt(np.diag(np.linalg.inv(hessian_MM)))
