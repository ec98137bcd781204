"""Options of training, and named groups of options."""

from __future__ import annotations

import pytest

from chatwright.errors import UserError
from chatwright.optim.muon import Muon
from chatwright.training.options import TrainingOptions, named
from chatwright.training.plan import Budget, evaluation_rows, save_interval


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch_tokens": 0}, "batch_tokens=0 must be at least 1"),
        ({"save_every": -2}, "save_every=-2 must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be more than 0"),
        ({"clip": -1.0}, r"clip=-1.0 must be 0 \(no bound\) or more"),
    ],
)
def test_impossible_values_are_refused(fields: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TrainingOptions(**fields)


@pytest.mark.parametrize(
    ("steps", "minutes", "said"),
    [
        (None, None, "steps=… or minutes=…"),
        (3, 1.0, "exclude each other"),
        (0, None, "steps=0 must be more than 0"),
        (None, -1.0, "minutes=-1.0 must be more than 0"),
    ],
)
def test_a_budget_is_steps_or_minutes(steps: int | None, minutes: float | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Budget(steps, minutes, begun=0.0)


def test_a_group_keeps_what_the_user_gave_over_a_default() -> None:
    cls, filled = named("optimizer", {"name": "muon"}, learning_rate=0.5)
    assert (cls, filled.learning_rate) == (Muon, 0.5)
    _, given = named("optimizer", {"name": "muon", "learning_rate": "0.1"}, learning_rate=0.5)
    assert given.learning_rate == 0.1
    _, untouched = named("optimizer", "muon", learning_rate=None)
    assert untouched.learning_rate == Muon.Options().learning_rate
    with pytest.raises(UserError, match="unknown optimizer 'moun'; did you mean 'muon'"):
        named("optimizer", "moun")


def test_an_evaluation_costs_about_a_hundredth_of_the_training() -> None:
    assert evaluation_rows(rows=10_000, rows_per_step=32, steps=1000) == 960
    assert evaluation_rows(rows=5, rows_per_step=32, steps=1000) == 5
    assert evaluation_rows(rows=5, rows_per_step=1, steps=1) == 1


def test_saves_come_about_every_minute() -> None:
    assert save_interval(0.5) == 120
    assert save_interval(100.0) == 1
