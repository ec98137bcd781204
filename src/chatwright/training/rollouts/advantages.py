"""From scores to advantages: penalties, generalized advantage estimation, group baselines, whitening. Pure functions.

Arrays of one reply hold a value for each of its tokens, float32[m].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Baseline = Literal["grpo", "dr_grpo", "rloo", "none"]

_SMALL = 1e-8
_DEVIATION_FLOOR = 1e-4


def token_rewards(log_ratios: Values, score: float, kl_coefficient: float) -> Values:
    """−β (log π − log π_ref) for every token, and the score at the last one (Stiennon et al. 2020, section 3.4).

    Their sum is score − β Σ log-ratios.
    """
    rewards = (-kl_coefficient * log_ratios).astype(np.float32)
    rewards[-1] += score
    return rewards


def generalized_advantages(
    rewards: Values, values: Values, discount: float, decay: float
) -> tuple[Values, Values]:
    """Advantages A and returns A + V of one reply (Schulman et al. 2016, GAE, equation 16).

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γ λ A_{t+1}; after the last token V and A are 0.
    """
    advantages = np.zeros_like(rewards)
    after, following = np.float32(0.0), np.float32(0.0)
    for t in range(len(rewards) - 1, -1, -1):
        surprise = rewards[t] + discount * following - values[t]
        after = surprise + discount * decay * after
        advantages[t], following = after, values[t]
    return advantages, advantages + values


def whitened(arrays: Sequence[Values], centred: bool = True) -> list[Values]:
    """All values together brought to deviation 1 and, where `centred`, to mean 0; otherwise the mean is kept."""
    together = np.concatenate(arrays).astype(np.float64)
    mean, deviation = together.mean(), np.sqrt(together.var() + _SMALL)
    kept = 0.0 if centred else mean
    return [((array - mean) / deviation + kept).astype(np.float32) for array in arrays]


def group_advantages(rewards: NDArray[np.float64], baseline: Baseline) -> NDArray[np.float64]:
    """One advantage for each of the G replies to one prompt, float64[G].

    grpo: (r − mean) / (deviation + 1e-4) (Shao et al. 2024); dr_grpo: r − mean (Liu et al. 2025); rloo:
    G / (G − 1) (r − mean), which is r less the mean of the others (Ahmadian et al. 2024); none: r itself.
    """
    centred = rewards - rewards.mean()
    if baseline == "grpo":
        centred = centred / (rewards.std(ddof=1 if len(rewards) > 1 else 0) + _DEVIATION_FLOOR)
    if baseline == "rloo":
        centred = centred * (len(rewards) / max(1, len(rewards) - 1))
    return rewards if baseline == "none" else centred


def explained_variance(values: Values, returns: Values) -> float:
    """1 − Var(R − V) / Var(R): 1 when values tell returns, 0 when they tell no more than their mean, less when worse."""
    spread = float(np.var(returns))
    return 1.0 - float(np.var(returns - values)) / spread if spread > _SMALL else 0.0


def adapted_coefficient(coefficient: float, kl: float, target: float, replies: int, horizon: float) -> float:
    """β (1 + e n / horizon) with e = clip(KL / target − 1, ±0.2) (Ziegler et al. 2019, section 2.2)."""
    error = min(0.2, max(-0.2, kl / target - 1.0))
    return coefficient * (1.0 + error * replies / horizon)
