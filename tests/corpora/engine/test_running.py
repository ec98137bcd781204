import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chatwright.corpora.engine.child import all_lines
from chatwright.corpora.engine.running import (
    Engine,
    InputError,
    Workers,
    choose_engine,
    default_workers,
)
from chatwright.corpora.engine.stages import Stage, Task
from chatwright.errors import UserError
from helpers.command import environment
from helpers.stages import ToldStage

POOL, DAFT, RAY = Engine("inline", 2), Engine("daft", 2), Engine("ray", 2)
CHILDREN = [POOL, DAFT, pytest.param(RAY, marks=pytest.mark.slow)]
ALL = [Engine("inline", 1), *CHILDREN]


def told(*contents: str) -> list[Task]:
    return [
        Task(f"{number:02}-{content}", 30 if content == "slow" else 1, content)
        for number, content in enumerate(contents)
    ]


def ignore(share: float) -> None:
    pass


@pytest.mark.parametrize("engine", ALL, ids=str)
def test_every_task_is_done_once_and_progress_is_told(engine: Engine, tmp_path: Path) -> None:
    stage, shares = ToldStage(tmp_path / "stage"), list[float]()
    with Workers(engine) as workers:
        for count in (5, 8):
            workers.run(stage, told(*["ok"] * count), shares.append)
            assert len(list(stage.folder.iterdir())) == count
            assert shares[-1] == 1
    assert min(shares) >= 0
    processes = {int(path.read_text()) for path in stage.folder.iterdir()}
    assert (os.getpid() in processes) == (engine == Engine("inline", 1))
    assert len(processes) <= 4


@pytest.mark.parametrize("engine", ALL, ids=str)
@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("user", UserError, "01-user is not wanted; give another"),
        ("input", InputError, "a.txt: not text; leave it out"),
        ("bug", RuntimeError, "part 01-bug: (.|\n)*ValueError: nobody thought of this"),
        ("memory", UserError, "01-memory: memory is used up; give it fewer workers= or a smaller part_mb="),
    ],
)
def test_what_stops_a_task_stops_the_stage(
    engine: Engine, content: str, kind: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said), Workers(engine) as workers:
        workers.run(ToldStage(tmp_path), told("ok", content, *["ok"] * 3), ignore)
    assert (tmp_path / "00-ok").exists()


@pytest.mark.parametrize("engine", CHILDREN[:2], ids=str)
def test_a_worker_that_dies_is_told_with_its_part(engine: Engine, tmp_path: Path) -> None:
    said = (
        rf"engine={engine.name} ended early, at the parts .*01-killed.*; run the same command again to go on"
    )
    with pytest.raises(UserError, match=said), Workers(engine) as workers:
        workers.run(ToldStage(tmp_path), told("ok", "killed", "slow"), ignore)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CHILDREN[:2], ids=str)
def test_nobody_works_on_when_a_task_has_failed(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UserError), Workers(engine) as workers:
        workers.run(ToldStage(tmp_path), told("slow", "user", "slow", "slow"), ignore)
    time.sleep(4)
    # Daft tells of tasks in their order, so the first is waited for.
    assert {path.name for path in tmp_path.iterdir()} <= {"00-slow"}


@pytest.mark.slow
@pytest.mark.parametrize("engine", CHILDREN[:2], ids=str)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_nobody_works_on_when_the_one_who_asked_has_ended(
    engine: Engine, sent: signal.Signals, tmp_path: Path
) -> None:
    stage = tmp_path / "stage"
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]; from pathlib import Path\n"
        "from chatwright.corpora.engine.running import Engine, Workers\n"
        "from chatwright.corpora.engine.stages import Task; from helpers.stages import ToldStage\n"
        "with Workers(Engine(sys.argv[2], 2)) as workers:\n"
        "    workers.run(ToldStage(Path(sys.argv[3])), [Task(str(n), 1, 'slow') for n in range(9)], print)"
    )
    tests = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", code, tests, engine.name, stage],
        env=environment(),
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    await_begun(tmp_path)
    assert process.poll() is None
    os.killpg(process.pid, sent)  # as a terminal sends Ctrl-C
    process.wait(10)
    time.sleep(1.5)  # the task takes three seconds, and those who watch look twice a second
    before = {path.name for path in tmp_path.glob("begun-*")}
    time.sleep(5)
    assert before == {path.name for path in tmp_path.glob("begun-*")}
    assert list(stage.iterdir()) == []


def await_begun(place: Path) -> None:
    ends = time.monotonic() + 60
    while not list(place.glob("begun-*")) and time.monotonic() < ends:
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interrupt_of_the_child_alone_ends_the_stage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="engine=daft ended early"), Workers(DAFT) as workers:

        def interrupt() -> None:
            await_begun(tmp_path)
            assert workers._child is not None
            os.kill(workers._child._process.pid, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        workers.run(ToldStage(tmp_path / "stage"), told(*["slow"] * 9), ignore)
    thread.join()


def test_a_runner_that_ends_early_is_no_success(tmp_path: Path) -> None:
    class Runner:
        def lines(self, stage: Stage, tasks: Sequence[Task], begun: Path) -> Iterator[str]:
            yield from ["first", "second"][: len(tasks)]

    stage = ToldStage(tmp_path)
    assert list(all_lines(Runner(), stage, told("ok", "ok"), tmp_path)) == ["first", "second"]
    lines = all_lines(Runner(), stage, told("ok", "ok", "ok"), tmp_path)
    assert [next(lines), next(lines)] == ["first", "second"]
    with pytest.raises(RuntimeError, match="interrupted: 2 of 3 parts"):
        next(lines)


def test_the_work_of_a_task_under_way_is_seen(tmp_path: Path) -> None:
    shares: list[float] = []
    with Workers(POOL) as workers:
        workers.run(ToldStage(tmp_path), told("slow", "slow"), shares.append)
    assert [share for share in shares if 0 < share < 0.5]


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    tasks = told("ok", "bug")
    (tmp_path / "01-bug").touch()
    shares: list[float] = []
    with Workers(DAFT) as workers:
        workers.run(ToldStage(tmp_path), tasks, shares.append)
        workers.run(ToldStage(tmp_path), tasks, shares.append)
    assert shares == [0.5, 1, 1]
    assert (tmp_path / "00-ok").read_text() == str(os.getpid())


def test_auto_takes_daft_for_much_input() -> None:
    assert choose_engine("auto", 0, 1000) == Engine("inline", 1)
    assert choose_engine("auto", 7, 1000) == Engine("inline", 1)
    assert choose_engine("auto", 0, 1 << 30) == Engine("daft", default_workers())
    assert choose_engine("inline", 0, 1 << 30) == Engine("inline", 1)
    assert choose_engine("ray", 5, 10) == Engine("ray", 5)
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
