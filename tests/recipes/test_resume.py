"""Killed at any moment, asked to stop, resumed: the end is the end of a run that nobody touched, bit for bit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chatwright.distributed.checkpoint import states
from chatwright.runs import Run
from helpers.command import begin, chatwright, killed_when
from helpers.journey import PRETRAIN, SFT, Journey, words
from helpers.preferred import write_preferences

pytestmark = pytest.mark.slow
STEPS = 24
PREFER = {"batch": 8, "learning_rate": 1e-3, "precision": "float32"}
Command = Callable[[Path], list[str]]


def training(journey: Journey, verb: str) -> Command:
    fixed = {"steps": STEPS, "eval_every": 8}
    if verb == "pretrain":
        given = [journey.corpus, journey.tokenizer]
        return lambda out: [
            "pretrain",
            *map(str, given),
            "-o",
            str(out),
            *words(PRETRAIN, save_every=2, **fixed),
        ]
    if verb == "dpo":
        pairs = write_preferences(journey.place / "pairs.jsonl")
        given = [journey.chat, pairs]
        options = words(PREFER, save_every=1, **fixed)
        return lambda out: ["dpo", *map(str, given), "-o", str(out), *options]
    given = [journey.base, journey.chats]
    return lambda out: ["sft", *map(str, given), "-o", str(out), *words(SFT, save_every=1, **fixed)]


def seeded(out: Path, like: Path) -> Path:
    """A run with the plan of another: what was measured, the attention kernel above all, is part of the result."""
    info = {**Run(like).info, "status": "running", "result": {}, "content": None}
    out.mkdir()
    (out / "run.json").write_text(json.dumps(info))
    return out


@pytest.fixture(scope="module", params=["pretrain", "sft", "dpo"])
def whole(
    request: pytest.FixtureRequest, journey: Journey, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Command, Path]:
    """The command, and a run of it that nobody touched."""
    command, out = training(journey, request.param), tmp_path_factory.mktemp("whole") / request.param
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    return command, out


def moments(out: Path) -> dict[str, Callable[[], bool]]:
    state = out / "state"

    def logged(step: int) -> bool:
        path = out / "metrics.jsonl"
        return path.exists() and f'"step": {step},' in path.read_text()

    return {
        "the plan stands and nothing is saved": lambda: (out / "metrics.jsonl").exists(),
        "the first state is being written": lambda: any(state.glob("step-*.tmp-*")),
        "a later state is being written": lambda: logged(7) and any(state.glob("step-*.tmp-*")),
        "the weights are being written": lambda: logged(5) and (out / "model.safetensors.tmp").exists(),
        "the last state is there": (state / f"step-{STEPS}").exists,
    }


def assert_equal_end(out: Path, wanted: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (out / name).read_bytes() == (wanted / name).read_bytes(), name
    rows, right = Run(out).metrics(), Run(wanted).metrics()
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))
    assert [row["loss"] for row in rows if "loss" in row] == [row["loss"] for row in right if "loss" in row]
    evaluations = [
        [(r["step"], r["evaluation"]) for r in found if "evaluation" in r] for found in (rows, right)
    ]
    assert evaluations[0] == evaluations[1]
    assert Run(out).result["after"] == Run(wanted).result["after"]
    left = [str(path) for path in out.rglob("*") if "tmp" in path.name]
    assert left == []


@pytest.mark.parametrize("moment", list(moments(Path())))
def test_a_killed_run_ends_as_if_it_had_not_been(
    whole: tuple[Command, Path], tmp_path: Path, moment: str
) -> None:
    command, wanted = whole
    out = seeded(tmp_path / "run", wanted)
    code, said = killed_when(moments(out)[moment], *command(out))
    assert code == -signal.SIGKILL, said
    has_state = bool(states(out / "state"))
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    assert ("resumed at step" in done.stderr) is has_state
    assert_equal_end(out, wanted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    whole: tuple[Command, Path], tmp_path: Path, number: int
) -> None:
    command, wanted = whole
    out = seeded(tmp_path / "run", wanted)

    def under_way() -> bool:
        path = out / "metrics.jsonl"
        return path.exists() and '"step": 3,' in path.read_text()

    code, said = killed_when(under_way, *command(out), number=number)
    assert code == 130, said
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    [(step, _)] = states(out / "state")[-1:]
    assert f"stopped and saved at step {step} of {STEPS}" in said
    assert not Run(out).finished
    done = chatwright(*command(out))
    assert (done.returncode, f"resumed at step {step}" in done.stderr) == (0, True)
    assert_equal_end(out, wanted)


def test_stopped_before_training_it_leaves_what_can_go_on(journey: Journey, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command: Sequence[str] = training(journey, "pretrain")(out)
    code, said = killed_when((out / "run.json").exists, *command, number=signal.SIGINT)
    assert (code, "Traceback" in said) == (130, False)
    assert chatwright(*command).returncode == 0


def test_a_held_run_is_refused_with_the_holders_number(journey: Journey, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = training(journey, "sft")(out)
    holder = begin(*command)
    while not (out / "run.json").exists():
        assert holder.poll() is None
    second = chatwright(*command)
    assert holder.poll() is None, "the first should still be at work"
    holder.kill()
    holder.communicate()
    assert second.returncode == 2
    assert f"in use by another process (pid {holder.pid})" in second.stderr
