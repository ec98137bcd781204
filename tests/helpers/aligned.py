"""The metrics of a healthy alignment run, as a recipe logs them, with any measure bent."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
Shape = Callable[[float], float]
ROLLOUTS, PASSES = 40, 4


def saturating(x: float) -> float:
    return 1 - math.exp(-3 * x)


# what a healthy run measures at x from 0 (its start) to 1 (its end), and the noise of one rollout
HEALTHY: dict[str, tuple[Shape, float]] = {
    "reward": (lambda x: -0.4 + 2 * saturating(x), 0.1),
    "reward_deviation": (lambda x: 0.8, 0.02),
    "gold": (lambda x: 0.4 + 0.3 * saturating(x), 0.03),
    "kl": (lambda x: 6 * saturating(x), 0.3),
    "entropy": (lambda x: 0.9 - 0.3 * x, 0.02),
    "length": (lambda x: 20 + 4 * x, 0.8),
    "unfinished": (lambda x: 0.03, 0.01),
    "disagreement": (lambda x: 0.2, 0.01),
    "explained_variance": (lambda x: 0.6 * saturating(2 * x), 0.08),
    "equal_groups": (lambda x: 0.2 + 0.3 * x, 0.05),
}
HEALTHY_STEPS: dict[str, tuple[Shape, float]] = {
    "clip_share": (lambda x: 0.1, 0.03),
    "accuracy": (lambda x: 0.5 + 0.3 * saturating(x), 0.08),
    "chosen_reward": (lambda x: -0.2 * x, 0.02),
    "rejected_reward": (lambda x: -1.5 * x, 0.02),
    "chosen_logprob": (lambda x: -60 - 15 * x, 3.0),
}
JUDGED = {"accuracy": 0.8, "accuracy_interval": [0.76, 0.84], "calibration_error": 0.03}


def a_run(seed: int = 0, judged: dict[str, Any] | None = None, **changed: Shape) -> Rows:
    """The rows of a healthy run, but for the measures that are given."""
    noise, rows = random.Random(seed), []
    for i in range(ROLLOUTS):
        x = i / (ROLLOUTS - 1)
        rollout = {
            k: changed.get(k, shape)(x) + noise.gauss(0, spread) for k, (shape, spread) in HEALTHY.items()
        }
        rows.append({"step": PASSES * i + 1, "rollout": {"iteration": i + 1, **rollout}})
        for step in range(PASSES * i + 1, PASSES * i + PASSES + 1):
            metrics = {
                k: changed.get(k, shape)(x) + noise.gauss(0, spread)
                for k, (shape, spread) in HEALTHY_STEPS.items()
            }
            rows.append({"step": step, "loss": {"policy": noise.gauss(0, 0.01)}, "metrics": metrics})
    return [*rows, {"step": ROLLOUTS * PASSES, "evaluation": {**JUDGED, **(judged or {})}}]


def peak(x: float) -> float:
    """Gold that rises up to the middle and loses all of it again."""
    return 0.7 - 0.6 * abs(x - 0.5)
