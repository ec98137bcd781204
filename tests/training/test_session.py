"""How a session prepares: what is measured, settled and clocked, in which order, and who chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import chatwright as cw
from chatwright import runs
from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import Causal, example_rows, tiny_decoder
from chatwright.recipes.alignment import distill as distilling
from chatwright.runs import OpenRun
from chatwright.training import machine
from chatwright.training import plan as planning
from chatwright.training.options import LoopOptions
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource
from helpers.journey import SFT, Journey
from helpers.preferred import write_preferences
from helpers.ranks import on_ranks
from helpers.work import Rows, alone

Events = list[str]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[OpenRun]:
    with runs.start("pretrain", tmp_path / "run", {}) as opened:
        yield opened


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    """What happens, on a machine that is fastest in bfloat16 with the kernel `split2`."""
    seen: Events = []
    rates = {"float32": 1e9, "bfloat16": 2e9}
    monkeypatch.setattr(machine, "fastest_precision", lambda device: (torch.bfloat16, rates))
    monkeypatch.setattr(machine, "fastest_kernel", lambda *_: ("split2", {"split2": 1.0}))
    for name in ("clock", "clock_rollout"):
        clock: Callable[..., dict[str, Any]] = getattr(planning, name)

        def noted(*given: Any, clock: Callable[..., dict[str, Any]] = clock) -> dict[str, Any]:
            seen.append("clock")
            return clock(*given)

        monkeypatch.setattr(planning, name, noted)
    return seen


def prepare(run: OpenRun, events: Events, rehearsal: int | None, **options: Any) -> Session:
    """A session over a tiny decoder, with a note of every call to `initialize` and `settle`."""
    model, objective = tiny_decoder(), Causal()
    session = Session(run, alone(), {"policy": model}, objective, LoopOptions(**options), 0.0)
    rows = Rows(example_rows(learnt_from=0))
    session.prepare(
        lambda micro: StoredSource(rows, objective, 4, micro, 0, alone()),
        24,
        4,
        {},
        lambda: events.append("initialize"),
        rehearsal,
        lambda dtype: events.append(f"settle {dtype} {model.kernel}{' planned' * bool(run.plan)}"),
    )
    return session


SETTLED = "settle torch.bfloat16 split2"


@pytest.mark.parametrize("rehearsal", [None, 1])
def test_frozen_models_are_settled_before_the_clock_and_by_the_plan(
    run: OpenRun, events: Events, rehearsal: int | None
) -> None:
    prepare(run, events, rehearsal, minutes=0.001)
    assert events == ["initialize", SETTLED, "clock", f"{SETTLED} planned", "initialize"]
    assert (run.plan["precision"], run.plan["kernel"]) == ("bfloat16", "split2")


def test_without_a_clock_they_wait_for_the_plan(run: OpenRun, events: Events) -> None:
    """So that what was settled in part, when the process dies, is gone on with by the same plan."""
    prepare(run, events, 1, steps=3)
    assert events == ["initialize", "clock", f"{SETTLED} planned", "initialize"]


def test_a_plan_that_stands_is_settled_by_alone(run: OpenRun, events: Events) -> None:
    prepare(run, [], None, steps=3)
    plan = run.plan
    events.clear()
    again = prepare(run, events, None, steps=3)
    assert again.plan == plan
    assert events == [f"{SETTLED} planned", "initialize"]


def test_the_reference_of_dpo_is_taken_off_the_minutes(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Path] = []
    clock = planning.clock_rollout

    def watched(*given: Any) -> dict[str, Any]:
        found.extend((tmp_path / "run").glob("tokens/*/reference-*"))
        return clock(*given)

    monkeypatch.setattr(planning, "clock_rollout", watched)
    preferences = write_preferences(tmp_path / "pairs.jsonl")
    cw.dpo(journey.chat, preferences, tmp_path / "run", minutes=0.04, batch=16, precision="float32")
    assert len(found) == 2, "both sides are worked out when the clock begins"


def test_a_teacher_is_clocked_as_it_computes_later(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[Decoder] = []
    found: set[tuple[torch.dtype, str, bool]] = set()
    load, clock = distilling.load_model, planning.clock

    def loaded(*given: Any) -> Decoder:
        teachers.append(load(*given))
        return teachers[-1]

    def watched(model: Decoder, step: Callable[[], int], *given: Any) -> dict[str, Any]:
        def noted() -> int:
            found.update((one.compute_dtype, one.kernel, one.training) for one in teachers)
            return step()

        return clock(model, noted, *given)

    monkeypatch.setattr(distilling, "load_model", loaded)
    monkeypatch.setattr(planning, "clock", watched)
    monkeypatch.setattr(machine, "fastest_kernel", lambda *_: ("split2", {"split2": 1.0}))
    given = {**SFT, "steps": 1, "precision": "bfloat16"}
    cw.distill(journey.chat, journey.chat, journey.chats, tmp_path / "run", **given)
    assert len(teachers) == 1
    assert found == {(torch.bfloat16, "split2", False)}


def test_the_first_process_chooses_for_all(tmp_path: Path) -> None:
    """Processes that measure differently settle with the same precision and kernel, before the clock as after."""
    found = on_ranks("helpers.work:settled", 2, str(tmp_path / "run"))
    assert found[0] == found[1] == [("torch.bfloat16", "split2")] * 2
