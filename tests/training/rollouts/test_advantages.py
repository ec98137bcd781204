"""From scores to advantages, against sums written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chatwright.training.rollouts.advantages import (
    adapted_coefficient,
    explained_variance,
    generalized_advantages,
    group_advantages,
    token_rewards,
    whitened,
)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


REWARDS, VALUES = floats(0.5, -1.0, 0.0, 2.0), floats(0.3, 0.1, -0.4, 0.7)


def test_rewards_of_tokens_add_up_to_the_score_less_the_divergence() -> None:
    log_ratios = floats(0.3, -0.2, 0.7)
    rewards = token_rewards(log_ratios, 1.5, 0.2)
    assert rewards.tolist() == pytest.approx([-0.06, 0.04, 1.36])
    assert rewards.sum() == pytest.approx(1.5 - 0.2 * log_ratios.sum())
    assert token_rewards(log_ratios, 1.5, 0.0).tolist() == [0.0, 0.0, 1.5]
    assert token_rewards(floats(0.5), -1.0, 1.0).tolist() == [-1.5]


def test_advantages_at_decay_one_are_returns_less_values() -> None:
    advantages, returns = generalized_advantages(REWARDS, VALUES, 1.0, 1.0)
    ahead = [1.5, 1.0, 2.0, 2.0]
    assert returns.tolist() == pytest.approx(ahead)
    assert advantages.tolist() == pytest.approx([a - v for a, v in zip(ahead, VALUES, strict=True)])


def test_advantages_at_decay_zero_are_one_step_surprises() -> None:
    advantages, _ = generalized_advantages(REWARDS, VALUES, 0.9, 0.0)
    following = [0.1, -0.4, 0.7, 0.0]
    wanted = [r + 0.9 * n - v for r, n, v in zip(REWARDS, following, VALUES, strict=True)]
    assert advantages.tolist() == pytest.approx(wanted)


def test_the_value_after_the_end_is_zero() -> None:
    advantages, returns = generalized_advantages(floats(2.0), floats(5.0), 1.0, 0.95)
    assert (advantages.tolist(), returns.tolist()) == ([-3.0], [2.0])
    advantages, _ = generalized_advantages(REWARDS, VALUES, 1.0, 0.95)
    assert advantages[-1] == pytest.approx(2.0 - 0.7)


def test_advantages_are_the_decayed_sum_of_surprises() -> None:
    discount, decay = 0.9, 0.8
    surprises = REWARDS + discount * floats(*VALUES[1:], 0.0) - VALUES
    wanted = [
        sum((discount * decay) ** (k - t) * surprises[k] for k in range(t, len(surprises)))
        for t in range(len(surprises))
    ]
    advantages, returns = generalized_advantages(REWARDS, VALUES, discount, decay)
    assert advantages.tolist() == pytest.approx(wanted, rel=1e-5)
    assert returns.tolist() == pytest.approx((advantages + VALUES).tolist())


def test_whitening_is_over_all_values_together() -> None:
    arrays = [floats(1.0, 2.0), floats(6.0), floats(-3.0, 0.0, 9.0)]
    together = np.concatenate(whitened(arrays))
    assert together.mean() == pytest.approx(0.0, abs=1e-6)
    assert together.std() == pytest.approx(1.0, rel=1e-5)
    assert [len(array) for array in whitened(arrays)] == [2, 1, 3]
    before = np.concatenate(arrays)
    assert np.corrcoef(before, together)[0, 1] == pytest.approx(1.0)


def test_whitening_without_centring_keeps_the_mean() -> None:
    arrays = [floats(1.0, 2.0), floats(6.0, -2.0)]
    together = np.concatenate(whitened(arrays, centred=False))
    assert together.mean() == pytest.approx(1.75, rel=1e-5)
    assert together.std() == pytest.approx(1.0, rel=1e-5)


def test_values_that_are_all_the_same_whiten_to_zero() -> None:
    assert np.concatenate(whitened([floats(2.0, 2.0), floats(2.0)])).tolist() == [0.0, 0.0, 0.0]
    assert np.concatenate(whitened([floats(2.0)], centred=False)).tolist() == [2.0]


GROUP = np.array([0.2, 1.7, -0.6, 0.9])


def test_grpo_is_invariant_to_shift_and_scale() -> None:
    found = group_advantages(GROUP, "grpo")
    assert found == pytest.approx((GROUP - GROUP.mean()) / (GROUP.std(ddof=1) + 1e-4))
    assert group_advantages(GROUP + 100, "grpo") == pytest.approx(found, rel=1e-6)
    assert group_advantages(GROUP * 50, "grpo") == pytest.approx(found, rel=1e-3)
    assert found.sum() == pytest.approx(0.0, abs=1e-12)


def test_rloo_is_the_reward_less_the_mean_of_the_others() -> None:
    found = group_advantages(GROUP, "rloo")
    others = [(GROUP.sum() - r) / 3 for r in GROUP]
    assert found == pytest.approx(GROUP - others)
    assert found == pytest.approx(4 / 3 * (GROUP - GROUP.mean()))


def test_the_other_baselines() -> None:
    assert group_advantages(GROUP, "dr_grpo") == pytest.approx(GROUP - GROUP.mean())
    assert group_advantages(GROUP, "none") is GROUP


@pytest.mark.parametrize("baseline", ["grpo", "dr_grpo", "rloo"])
@pytest.mark.parametrize("size", [1, 4])
def test_equal_rewards_teach_nothing(baseline: str, size: int) -> None:
    assert group_advantages(np.full(size, 0.75), baseline).tolist() == [0.0] * size  # type: ignore[arg-type]


def test_the_coefficient_stays_at_its_target_and_moves_no_faster_than_a_fifth() -> None:
    assert adapted_coefficient(0.1, 6.0, 6.0, 512, 10_000) == 0.1
    assert adapted_coefficient(0.1, 6.6, 6.0, 500, 10_000) == pytest.approx(0.1 * (1 + 0.1 * 0.05))
    assert adapted_coefficient(0.1, 5.4, 6.0, 500, 10_000) == pytest.approx(0.1 * (1 - 0.1 * 0.05))
    assert adapted_coefficient(0.1, 600.0, 6.0, 1000, 10_000) == pytest.approx(0.1 * 1.02)
    assert adapted_coefficient(0.1, -3.0, 6.0, 1000, 10_000) == pytest.approx(0.1 * 0.98)


def test_explained_variance_is_one_for_an_oracle_and_zero_for_the_mean() -> None:
    returns = floats(1.0, 2.0, 4.0)
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(floats(5.0, 5.0, 5.0), returns) == pytest.approx(0.0)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, floats(2.0, 2.0, 2.0)) == 0.0
