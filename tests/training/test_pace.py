"""How many steps fit into the time that is left."""

from __future__ import annotations

from pathlib import Path

import pytest

import chatwright as cw
from chatwright.training import machine
from chatwright.training.pace import Pace
from helpers.journey import PRETRAIN, Journey


def paced(*seconds: float) -> Pace:
    pace = Pace()
    for spent in seconds:
        pace.note(spent)
    return pace


def test_the_plan_stands_until_enough_steps_were_seen() -> None:
    assert paced(*[1.0] * 12).fitting(12, 50.0, 400) == 400
    assert paced(*[1.0] * 13).fitting(13, 50.0, 400) == 63


def test_the_first_steps_do_not_count() -> None:
    assert paced(100.0, 100.0, 100.0, *[0.5] * 20).fitting(23, 10.0, 400) == 43


def test_there_is_always_one_more_step() -> None:
    assert paced(*[1.0] * 20).fitting(20, -5.0, 400) == 21


@pytest.mark.parametrize("factor", [8.0, 0.1])
def test_a_wrong_first_guess_is_mended_while_the_run_goes_on(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    honest = machine.typical_seconds_of
    monkeypatch.setattr(machine, "typical_seconds_of", lambda work: factor * honest(work))
    run = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "base", minutes=0.12, **PRETRAIN)
    planned, done = run.plan["steps"], run.result["steps"]
    assert done > planned if factor > 1 else done < planned
    rows = run.metrics()
    assert [row["planned_steps"] for row in rows if "planned_steps" in row][-1] == done
    losses = [row for row in rows if "loss" in row]
    assert losses[-1]["step"] == done
    # the schedule ends where the run ends
    assert losses[-1]["rate_factor"] < 0.1
