"""Win rates: ties count half, and the interval says how little a few prompts tell."""

from __future__ import annotations

import pytest

from chatwright.evaluation.winning import WinRate, compared


def test_wins_ties_and_losses_are_counted_reply_by_reply() -> None:
    found = compared([1.0, 2.0, 0.0, 5.0], [0.0, 2.0, 3.0, 4.5])
    assert found == WinRate(wins=2, ties=1, losses=1)
    assert (found.total, found.rate) == (4, 0.625)


def test_the_other_side_has_the_rest() -> None:
    mine, theirs = [1.0, 2.0, 0.0, 5.0, 1.0], [0.0, 2.0, 3.0, 4.5, 2.0]
    assert compared(mine, theirs).rate == pytest.approx(1 - compared(theirs, mine).rate)
    (low, high), (other_low, other_high) = compared(mine, theirs).interval, compared(theirs, mine).interval
    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low))


def test_a_policy_ties_with_itself() -> None:
    same = compared([1.0, 2.0], [1.0, 2.0])
    assert (same.rate, same.ties) == (0.5, 2)
    low, high = same.interval
    assert low < 0.5 < high


def test_nothing_compared_is_nothing_known() -> None:
    assert compared([], []).rate == 0.5
    assert compared([], []).interval == (0.0, 1.0)


def test_more_prompts_narrow_the_interval() -> None:
    few, many = WinRate(7, 0, 3).interval, WinRate(700, 0, 300).interval
    assert few[0] < many[0] < 0.7 < many[1] < few[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 1000) ** 0.5, rel=0.01)


def test_sides_of_different_length_are_a_bug() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        compared([1.0], [1.0, 2.0])
