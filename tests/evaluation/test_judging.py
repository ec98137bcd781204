"""Accuracy and calibration of pairs, against numbers counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chatwright.data.groups import Group, Reply
from chatwright.evaluation.judging import PairScores, calibration, judged, score_pairs
from chatwright.models.decoder import DecoderOptions
from chatwright.models.scored import ScoredDecoder
from helpers.weights import stirred


def pairs(*differences: float) -> PairScores:
    better = np.array(differences)[:, None]
    return PairScores(better + 3.0, np.full_like(better, 3.0))


def test_accuracy_and_loss_are_those_of_the_pairs() -> None:
    found = judged(pairs(2.0, -1.0, 0.5, 3.0))
    assert found["accuracy"] == 0.75
    low, high = found["accuracy_interval"]
    assert 0 < low < 0.75 < high < 1
    wanted = [math.log(1 + math.exp(-d)) for d in (2.0, -1.0, 0.5, 3.0)]
    assert found["loss"] == pytest.approx(sum(wanted) / 4)
    assert "disagreement" not in found


def test_swapped_pairs_turn_the_accuracy_round() -> None:
    scores = pairs(2.0, -1.0, 0.5, 3.0)
    assert judged(PairScores(scores.worse, scores.better))["accuracy"] == 0.25


def test_a_tie_counts_half() -> None:
    scores = pairs(2.0, 0.0, -1.0, 0.0, 3.0)
    found, swapped = judged(scores), judged(PairScores(scores.worse, scores.better))
    assert (found["accuracy"], swapped["accuracy"]) == (pytest.approx(0.6), pytest.approx(0.4))
    low, high = found["accuracy_interval"]
    # three right of five, by hand: (0.6 + z²/10 ∓ z √(0.24/5 + z²/100)) / (1 + z²/5), z = 1.96
    assert (low, high) == (pytest.approx(0.2307, abs=1e-4), pytest.approx(0.8824, abs=1e-4))
    assert swapped["accuracy_interval"] == pytest.approx([1 - high, 1 - low])
    assert judged(pairs(0.0, 0.0, 0.0))["accuracy"] == 0.5


def test_a_tie_is_as_sure_as_it_is_right() -> None:
    found = calibration(np.zeros(3))
    assert found["calibration"] == [{"predicted": 0.5, "observed": 0.5, "count": 3}]
    assert found["calibration_error"] == 0


def test_a_constant_changes_nothing() -> None:
    scores = pairs(2.0, -1.0, 0.5)
    moved = judged(PairScores(scores.better + 7, scores.worse + 7))
    wanted = judged(scores)
    for name in ("accuracy", "loss", "calibration_error"):
        assert moved[name] == pytest.approx(wanted[name]), name


def test_an_ensemble_is_judged_by_its_mean_and_says_how_it_disagrees() -> None:
    better = np.array([[2.0, -0.5], [1.0, 1.0]])
    found = judged(PairScores(better, np.zeros((2, 2))))
    assert found["accuracy"] == 1.0
    assert found["disagreement"] == pytest.approx((1.25 + 0.0) / 2)


def test_calibration_compares_sureness_with_being_right() -> None:
    """Ten pairs that are 80 % sure, of which eight are right, are calibrated; ten of which all are right are not."""
    sure = math.log(0.8 / 0.2)
    right = calibration(np.array([sure] * 8 + [-sure] * 2))
    assert right["calibration_error"] == pytest.approx(0.0, abs=1e-9)
    [only] = right["calibration"]
    assert (only["count"], only["observed"], only["predicted"]) == (10, 0.8, pytest.approx(0.8))
    assert calibration(np.array([sure] * 10))["calibration_error"] == pytest.approx(0.2)


def test_calibration_is_weighted_by_counts() -> None:
    timid, sure = math.log(0.55 / 0.45), math.log(0.99 / 0.01)
    found = calibration(np.array([timid] * 3 + [sure] * 1))
    assert [row["count"] for row in found["calibration"]] == [3, 1]
    assert found["calibration_error"] == pytest.approx((3 * 0.45 + 1 * 0.01) / 4)
    assert calibration(np.array([100.0]))["calibration"][0]["predicted"] == pytest.approx(1.0)


def test_no_pairs_say_nothing() -> None:
    found = judged(PairScores(np.empty((0, 1)), np.empty((0, 1))))
    assert math.isnan(found["loss"])
    assert (found["calibration"], found["accuracy"], found["accuracy_interval"]) == ([], 0.5, [0.0, 1.0])


def test_every_pair_of_every_ranking_is_scored() -> None:
    model = stirred(
        ScoredDecoder(
            DecoderOptions(vocab_size=40, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, feed_forward=16, context=16)
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    groups = [
        Group(
            tuple(Reply(rng.integers(0, 40, 4 + n), 2, {"rank": float(rank)}) for n, rank in enumerate(ranks))
        )
        for ranks in ((0, 1), (2, 0, 1), (1, 1))
    ]
    found = score_pairs(model, groups)
    assert found.better.shape == found.worse.shape == (1 + 3 + 0, 1)
    [alone] = score_pairs(model, groups[:1]).better
    assert found.better[0] == pytest.approx(alone, abs=1e-6)
    assert found.better[1] == pytest.approx(found.better[2]), (
        "the best of the ranking, over each of the others"
    )
    assert score_pairs(model, []).better.shape == (0, 1)
