"""Running a stage over its tasks: in this process, in several, through Daft, or through Daft on Ray.

All do the same, `stage.perform(task)` for every task that is not done, and a task's files do not depend on who made
them or when: so engines and numbers of workers give the same bytes. What runs beside this process is a child of its
own (`child.py`), because Daft can crash at a process's end, after its work is done.
"""

from __future__ import annotations

import json
import os
import pickle
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from chatwright.corpora.engine.stages import Stage, Task
from chatwright.corpora.reading.raw import FileError
from chatwright.errors import UserError, did_you_mean
from chatwright.files import writing

ENGINES = ("auto", "inline", "daft", "ray")
_SMALL = 64 << 20
_BYTES_A_WORKER = 1 << 30
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_END = 20
# Workers are as many as there are cores, so each has one thread; what libraries would print goes to nobody.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}

OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Engine:
    """Who does the work: `inline`, `daft` or `ray`, with how many workers at once."""

    name: str
    workers: int


class InputError(UserError):
    """What the user gave cannot be read: nothing was begun that is worth keeping."""


def choose_engine(name: str, workers: int, input_bytes: int) -> Engine:
    """The engine to use: of `auto`, Daft for more than 64 MB of input; of 0 workers, one for each core and GB."""
    if name not in ENGINES:
        raise UserError(f"unknown engine {name!r}{did_you_mean(name, ENGINES)}")
    if workers < 0:
        raise UserError(f"workers={workers} is negative; give 0 for one a core, or how many")
    if name == "auto":
        name = "daft" if input_bytes > _SMALL else "inline"
        workers = workers if name == "daft" else 1
    return Engine(name, workers or (1 if name == "inline" else default_workers()))


def default_workers() -> int:
    """One worker for each core this process may use, and for each GB of memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, memory // _BYTES_A_WORKER))


class Workers:
    """Those who do the tasks. A context manager; processes start with the first stage that needs them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._child: _Child | None = None

    def run(self, stage: Stage, tasks: Sequence[Task], on_progress: OnProgress) -> None:
        """Do every task that is not done yet. `on_progress(share)` is told from 0 to 1.

        Raises InputError, UserError or, for a bug, RuntimeError as the first failing task says; tasks that are done
        stay done.
        """
        total = sum(task.weight for task in tasks) or 1
        left = [task for task in tasks if not stage.is_done(task)]
        done = total - sum(task.weight for task in left)
        on_progress(done / total)
        if not left:
            return
        with writing(stage.folder):
            stage.folder.mkdir(parents=True, exist_ok=True)
        # One task is done before processes have started.
        if self.engine == Engine("inline", 1) or len(left) == 1:
            _inline(stage, left, done, total, on_progress)
            return
        self._child = self._child or _Child(self.engine)
        self._child.run(stage, left, done, total, on_progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._child:
            self._child.end()


def _inline(stage: Stage, tasks: Sequence[Task], done: int, total: int, on_progress: OnProgress) -> None:
    for task in tasks:
        within = 0

        def beat(count: int) -> None:
            nonlocal within
            within += count
            on_progress(min(1.0, (done + within) / total))  # noqa: B023 (called before the next task)

        said = attempt(stage, task, beat)
        if said:
            raise _error(said)
        done += task.weight
        on_progress(done / total)


def attempt(stage: Stage, task: Task, beat: Callable[[int], None]) -> str:
    """Do one task; returns "" or, as JSON, what stopped it: a mistake of the user's, or of ours."""
    try:
        stage.perform(task, beat)
    except FileError as error:
        return json.dumps({"kind": "input", "said": str(error)})
    except UserError as error:
        return json.dumps({"kind": "user", "said": str(error)})
    except MemoryError:
        mend = "give it fewer workers= or a smaller part_mb="
        return json.dumps({"kind": "user", "said": f"part {task.name}: memory is used up; {mend}"})
    except Exception:
        return json.dumps({"kind": "bug", "said": f"part {task.name}: {traceback.format_exc()}"})
    return ""


def _error(said: str) -> Exception:
    found = json.loads(said)
    kinds = {"input": InputError, "user": UserError, "bug": RuntimeError}
    return kinds[found["kind"]](found["said"])


class _Child:
    """A process that has workers do the tasks of one stage after another, and tells of each by a line."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._place = Path(tempfile.mkdtemp(prefix="chatwright-"))
        self._begun, self._errors = self._place / "begun", self._place / "errors"
        self._begun.mkdir()
        self._tasks: dict[str, Task] = {}
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": paths, **_ENVIRONMENT}
        command = [sys.executable, "-m", "chatwright.corpora.engine.child"]
        with self._errors.open("wb") as errors:
            # In a session of its own, as Ctrl-C is this process's to answer: Daft would end its work without a word.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self._send(engine)

    def run(
        self, stage: Stage, tasks: Sequence[Task], done: int, total: int, on_progress: OnProgress
    ) -> None:
        """Have the tasks done; reads the child's lines, and between them what tasks under way have done."""
        self._tasks = {task.name: task for task in tasks}
        self._send((stage, list(tasks), self._begun))
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            rest = b""
            while self._tasks:
                if selector.select(_SECONDS_BETWEEN_LOOKS):
                    data = os.read(self._process.stdout.fileno(), 1 << 16)
                    if not data:
                        raise self._broken()
                    *lines, rest = (rest + data).split(b"\n")
                    done += sum(self._finished(line) for line in lines)
                on_progress(min(1.0, (done + _under_way(self._begun)) / total))

    def end(self) -> None:
        """Let the child end, or end it where it is still at work."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(0 if self._tasks else _SECONDS_TO_END)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        # Why a child is gone is told when its lines are read.
        with suppress(BrokenPipeError):
            self._process.stdin.write(pickle.dumps(value))
            self._process.stdin.flush()

    def _finished(self, line: bytes) -> int:
        """Take a line: the weight of the task that it says is done. Raises what a task raised."""
        found = json.loads(line)
        if found["error"]:
            raise _error(found["error"])
        return self._tasks.pop(found["task"]).weight

    def _broken(self) -> UserError:
        """The child ended without its work done: a worker was killed, most often for want of memory."""
        self._process.wait()
        names = ", ".join(sorted(path.name for path in self._begun.iterdir())) or "none"
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        last = f"; last it said: {lines[-1].strip()[:200]}" if lines else ""
        mend = "run the same command again to go on, with fewer workers= where memory was short, or with engine=inline"
        return UserError(f"engine={self._engine.name} ended early, at the parts {names}{last}; {mend}")


def _under_way(begun: Path) -> int:
    """How much the tasks that have begun have done so far."""
    found = 0
    for path in begun.iterdir():
        try:
            found += int(path.read_text() or 0)
        except (OSError, ValueError):
            continue
    return found


class FileBeat:
    """A `beat` that keeps its sum in a file, written at most once a second; the file is there while it is held."""

    def __init__(self, path: Path) -> None:
        self._path, self._sum, self._next = path, 0, 0.0

    def __call__(self, count: int) -> None:
        self._sum += count
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LOOKS
            self._path.write_text(str(self._sum))

    def __enter__(self) -> Self:
        self._path.touch()
        return self

    def __exit__(self, *exception: object) -> None:
        self._path.unlink(missing_ok=True)
