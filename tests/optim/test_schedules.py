"""Schedules: known answers, and ends that meet the run's."""

from __future__ import annotations

import pytest

from chatwright.errors import UserError
from chatwright.optim.schedules import Constant, Cosine, WarmupStableDecay
from chatwright.registry import lookup, table
from chatwright.training.options import named


def factors(schedule: object, steps: int) -> list[float]:
    return [schedule.factor(step, steps) for step in range(steps)]


def test_warmup_stable_decay() -> None:
    found = factors(WarmupStableDecay(warmup=0.2, decay=0.4), 10)
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert factors(WarmupStableDecay(warmup=0.0, decay=0.5, floor=0.1), 4) == pytest.approx([1, 1, 1, 0.55])


def test_cosine() -> None:
    found = factors(Cosine(warmup=0.0, floor=0.0), 3)
    assert found == pytest.approx([0.8535534, 0.5, 0.1464466])
    assert factors(Cosine(warmup=0.5), 4)[:2] == pytest.approx([0.5, 1.0])


def test_constant() -> None:
    assert factors(Constant(warmup=0.4), 5) == pytest.approx([0.5, 1, 1, 1, 1])


@pytest.mark.parametrize("name", table("schedule"))
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_every_schedule_moves_from_the_first_step_to_the_last(
    name: str, steps: int, warmup: float, decay: float
) -> None:
    cls = lookup("schedule", name)
    more = {"decay": decay} if hasattr(cls, "decay") else {}
    found = factors(cls(warmup=warmup, **more), steps)
    assert all(0.0 < factor <= 1.0 for factor in found)
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


@pytest.mark.parametrize("name", ["wsd", "cosine"])
def test_the_run_ends_where_the_schedule_ends(name: str) -> None:
    """One more step would be at the floor: the last step of the run is the last that moves."""
    schedule = lookup("schedule", name)(floor=0.05)
    assert schedule.factor(400, 400) == pytest.approx(0.05, abs=1e-3)
    assert 0.05 < schedule.factor(399, 400) < 0.07


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_between_zero_and_one(share: float) -> None:
    with pytest.raises(UserError, match=f"schedule.warmup={share} is not a share"):
        WarmupStableDecay(warmup=share)
    with pytest.raises(UserError, match=f"schedule.decay={share} is not a share"):
        WarmupStableDecay(decay=share)


def test_options_reach_the_schedule() -> None:
    _, made = named("schedule", {"name": "wsd", "decay": "0.25"})
    assert made == WarmupStableDecay(decay=0.25)
    with pytest.raises(UserError, match="schedule has no option 'decai'; did you mean 'decay'"):
        named("schedule", {"name": "wsd", "decai": 1})
