"""A rollout's advantages: what is taken from the score, what is whitened, and what is kept as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from chatwright.data.groups import Reply
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.training.rollouts.advantages import generalized_advantages, token_rewards
from chatwright.training.rollouts.estimators import Divergence, GroupEstimator, KLOptions, ValueEstimator
from chatwright.training.rollouts.experience import Asked, Sampled

ASKED = Asked(Prompt((Message("user", "?"),)), np.array([1, 2]))
SCORES, SIZES = (1.0, -0.5, 2.0, 0.25), (3, 1, 5, 2)


def sampled(score: float, size: int, seed: int, reference: bool = True) -> Sampled:
    rng = np.random.default_rng(seed)
    names = ("old_logprobs", "old_values", "entropy", *(("reference_logprobs",) if reference else ()))
    tokens = {name: rng.normal(size=size).astype(np.float32) for name in names}
    ids = np.concatenate([ASKED.ids, np.arange(size) + 3])
    return Sampled(ASKED, "", Reply(ids, 2, {"score": score}, tokens))


def rollout(scores: Sequence[float] = SCORES, **more: Any) -> list[Sampled]:
    return [sampled(*row, seed, **more) for seed, row in enumerate(zip(scores, SIZES, strict=True))]


def log_ratios(sample: Sampled) -> np.ndarray:
    return sample.reply.tokens["old_logprobs"] - sample.reply.tokens["reference_logprobs"]


def test_returns_are_made_before_advantages_are_whitened() -> None:
    samples = rollout()
    replies, _ = ValueEstimator(KLOptions(0.3), discount=0.9, decay=0.7)(samples)
    raw = []
    for sample, reply in zip(samples, replies, strict=True):
        rewards = token_rewards(log_ratios(sample), sample.number("score"), 0.3)
        advantages, returns = generalized_advantages(rewards, sample.reply.tokens["old_values"], 0.9, 0.7)
        assert reply.tokens["returns"] == pytest.approx(returns)
        raw.append(advantages)
    found, before = np.concatenate([reply.tokens["advantages"] for reply in replies]), np.concatenate(raw)
    assert found == pytest.approx((before - before.mean()) / before.std(), rel=1e-4, abs=1e-6)
    assert found.mean() == pytest.approx(0.0, abs=1e-6)


def test_a_neighbours_length_changes_no_return() -> None:
    samples = rollout()
    together, _ = ValueEstimator(KLOptions(0.3))(samples)
    for sample, reply in zip(samples, together, strict=True):
        [alone], _ = ValueEstimator(KLOptions(0.3))([sample])
        assert np.array_equal(alone.tokens["returns"], reply.tokens["returns"])


def test_whitened_rewards_keep_their_mean() -> None:
    samples = [sampled(*row) for row in zip(SCORES, SIZES, range(4), strict=True)]
    for sample in samples:
        sample.reply.tokens["old_values"][:] = 0  # a return at decay 1 is then the sum of the rewards ahead
    raw = np.concatenate([token_rewards(log_ratios(s), s.number("score"), 0.3) for s in samples])
    replies, _ = ValueEstimator(KLOptions(0.3), decay=1.0, whiten_rewards=True)(samples)
    ahead = [reply.tokens["returns"] for reply in replies]
    rewards = np.concatenate([row - np.append(row[1:], 0) for row in ahead])
    assert rewards.mean() == pytest.approx(raw.mean(), rel=1e-4)
    assert rewards.std() == pytest.approx(1.0, rel=1e-4)
    assert np.corrcoef(rewards, raw)[0, 1] == pytest.approx(1.0)


def test_it_says_what_the_rollout_was() -> None:
    samples = rollout()
    _, facts = ValueEstimator(KLOptions(0.3))(samples)
    assert facts["kl"] == pytest.approx(np.mean([log_ratios(s).sum() for s in samples]))
    assert facts["kl_coefficient"] == 0.3
    every = np.concatenate([s.reply.tokens["entropy"] for s in samples])
    assert facts["entropy"] == pytest.approx(every.mean()), "a mean over tokens, not over replies"
    assert facts["explained_variance"] < 1


def test_an_adaptive_coefficient_moves_after_the_rollout_that_it_was_used_for() -> None:
    estimator, samples = ValueEstimator(KLOptions(0.3, target=0.1, horizon=100.0)), rollout()
    used = [estimator(samples)[1]["kl_coefficient"] for _ in range(3)]
    kl = float(np.mean([log_ratios(s).sum() for s in samples]))
    error = max(-0.2, min(0.2, kl / 0.1 - 1))
    assert used == pytest.approx([0.3, 0.3 * (1 + error * 0.04), 0.3 * (1 + error * 0.04) ** 2])
    assert abs(error) == 0.2
    again = ValueEstimator(KLOptions(0.3, target=0.1, horizon=100.0))
    again.load_state_dict(estimator.state_dict())
    assert again.divergence.coefficient == estimator.divergence.coefficient != 0.3


def test_a_fixed_coefficient_stays() -> None:
    divergence = Divergence(KLOptions(0.3))
    divergence.adapt(99.0, 1000)
    assert divergence.coefficient == 0.3
    adaptive = Divergence(KLOptions(0.3, target=2.0))
    adaptive.adapt(2.0, 1000)
    assert adaptive.coefficient == 0.3
    adaptive.adapt(3.0, 1000)
    assert adaptive.coefficient > 0.3, "too far from the reference: hold it harder"


def test_a_group_is_the_replies_to_one_prompt() -> None:
    samples = rollout()
    replies, facts = GroupEstimator(2, "dr_grpo", KLOptions(0.0))(samples)
    means = [0.25, 0.25, 1.125, 1.125]
    for reply, score, mean, size in zip(replies, SCORES, means, SIZES, strict=True):
        assert reply.tokens["advantages"].tolist() == pytest.approx([score - mean] * size)
    assert facts["equal_groups"] == 0.0


def test_the_divergence_of_the_whole_reply_is_taken_from_its_score() -> None:
    samples = rollout()
    replies, facts = GroupEstimator(4, "rloo", KLOptions(0.3))(samples)
    totals = np.array([s.number("score") - 0.3 * log_ratios(s).sum() for s in samples])
    wanted = [t - (totals.sum() - t) / 3 for t in totals]
    assert [reply.tokens["advantages"][0] for reply in replies] == pytest.approx(wanted, rel=1e-5)
    assert facts["kl"] == pytest.approx(np.mean([log_ratios(s).sum() for s in samples]))


def test_without_a_reference_there_is_no_divergence() -> None:
    samples = rollout((1.0, 1.0, 0.0, 2.0), reference=False)
    replies, facts = GroupEstimator(2, "grpo", KLOptions(0.3))(samples)
    assert facts == {"equal_groups": 0.5}
    assert [float(reply.tokens["advantages"][0]) for reply in replies[:2]] == [0.0, 0.0]
    assert replies[2].tokens["advantages"][0] == pytest.approx(-np.sqrt(0.5), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"coefficient": -0.1}, r"kl\.coefficient=-0\.1"),
        ({"target": 0.0}, r"kl\.target"),
        ({"horizon": 0.0}, r"kl\.horizon"),
    ],
)
def test_a_pull_that_cannot_be_is_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        KLOptions(**options)
