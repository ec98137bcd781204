"""The best of n: known answers by counting all subsets."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from chatwright.evaluation.best_of import best_of_kl, expected_best, sizes


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_expectation_is_the_mean_over_all_subsets(k: int) -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    wanted = [np.mean([max(subset) for subset in combinations(row, k)]) for row in scores]
    assert expected_best(scores, k) == pytest.approx(wanted)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_another_value_of_the_best_reply_counts_ties_alike(k: int) -> None:
    draw = np.random.default_rng(1)
    scores, gold = draw.integers(0, 3, (6, 5)).astype(float), draw.normal(size=(6, 5))
    wanted = []
    for row, values in zip(scores, gold, strict=True):
        found = []
        for subset in combinations(range(5), k):
            best = max(row[i] for i in subset)
            found.append(np.mean([values[i] for i in subset if row[i] == best]))
        wanted.append(np.mean(found))
    assert expected_best(scores, k, gold) == pytest.approx(wanted)
    assert expected_best(scores, k, scores) == pytest.approx(expected_best(scores, k))


def test_one_of_one_is_the_mean_and_all_of_all_the_maximum() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 6.0]])
    assert expected_best(scores, 1).tolist() == [2.0, 2.0]
    assert expected_best(scores, 3).tolist() == [3.0, 6.0]
    assert expected_best(np.zeros((1, 3000)), 1500).tolist() == [0.0]


def test_the_divergence_is_that_of_the_order_statistic() -> None:
    """Of the best of n the quantile u has the density n u^(n − 1): the divergence is the integral of its log."""
    u = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 4, 16):
        density = n * u ** (n - 1)
        assert best_of_kl(n) == pytest.approx((density * np.log(density)).mean(), abs=1e-4)
    assert best_of_kl(1) == 0
    assert best_of_kl(2) == pytest.approx(math.log(2) - 0.5)


def test_the_sizes_double_up_to_n() -> None:
    assert [sizes(n) for n in (1, 2, 3, 8, 10)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 10]]
