"""Bradley and Terry's strengths: known answers and what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chatwright.serving.votes import strengths as module
from chatwright.serving.votes.strengths import strengths

POINTS = 400 / math.log(10)


def test_two_models_without_a_prior_stand_as_far_apart_as_their_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRIOR", 1e-9)
    games = [("a", "b", 1.0)] * 30 + [("b", "a", 1.0)] * 10
    a, b = strengths(games)
    assert (a.name, b.name) == ("a", "b") and a.games == b.games == 40
    assert a.points - b.points == pytest.approx(POINTS * math.log(3), rel=1e-6)


def test_half_a_tie_each_way_is_nothing() -> None:
    a, b = strengths([("a", "b", 0.5)] * 7)
    assert a.points == b.points == pytest.approx(1000)
    a, b = strengths([("a", "b", 1.0), ("a", "b", 0.0)])
    assert a.points == b.points


def test_neither_order_nor_side_matters() -> None:
    games = [("a", "b", 1.0), ("b", "c", 0.5), ("c", "a", 0.0), ("a", "c", 1.0), ("b", "a", 1.0)]
    turned = [(other, one, 1 - share) for one, other, share in reversed(games)]
    for left, right in zip(strengths(games), strengths(turned), strict=True):
        assert left.name == right.name and left.points == pytest.approx(right.points)


def test_who_never_lost_is_not_endlessly_strong() -> None:
    a, b = strengths([("a", "b", 1.0)] * 200)
    assert 1000 < a.points < 3000 and a.interval[0] < a.points < a.interval[1]
    assert a.points - 1000 == pytest.approx(1000 - b.points)


def test_true_strengths_lie_in_their_intervals() -> None:
    draw, truth = np.random.default_rng(0), {"a": 1.0, "b": 0.2, "c": -0.3, "d": -0.9}
    games = []
    for _ in range(3000):
        one, other = draw.choice(list(truth), 2, replace=False)
        wins = draw.random() < 1 / (1 + math.exp(truth[other] - truth[one]))
        games.append((str(one), str(other), float(wins)))
    found = strengths(games)
    assert [one.name for one in found] == ["a", "b", "c", "d"]
    for one in found:
        assert one.interval[0] <= 1000 + POINTS * truth[one.name] <= one.interval[1]
    few = strengths(games[:100])
    assert few[0].interval[1] - few[0].interval[0] > found[0].interval[1] - found[0].interval[0]
