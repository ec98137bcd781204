"""The process that runs a stage's tasks on workers: a pool of processes, Daft's, or Daft's on a Ray cluster.

It reads its job from standard input, tells of every task that is done by a line of JSON on standard output, and ends
without the interpreter's clean-up. It and its workers end when the process that started them is gone.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from chatwright.corpora.engine.running import Engine, FileBeat, attempt
from chatwright.corpora.engine.stages import Stage, Task

_SECONDS_BETWEEN_LOOKS = 0.5


def work(stage: Stage, task: Task, begun: Path) -> str:
    """Do one task in a worker; returns the line that tells of it."""
    # On another machine of a cluster the folder is not there, and nobody looks.
    with FileBeat(begun / task.name) if begun.is_dir() else nullcontext(_ignore) as beat:
        error = attempt(stage, task, beat)
    return json.dumps({"task": task.name, "error": error})


def _ignore(count: int) -> None:
    pass


def end_with_parent(parent: int) -> None:
    """End this process when its parent is no longer `parent`: nobody waits for its work."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Runner(Protocol):
    """Has workers do the tasks of one stage after another."""

    def lines(self, stage: Stage, tasks: Sequence[Task], begun: Path) -> Iterator[str]:
        """A line for each task, when it is done."""
        ...


class _Pool:
    """Tasks on a pool of processes."""

    def __init__(self, engine: Engine) -> None:
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        spawned = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(engine.workers, spawned, end_with_parent, (os.getpid(),))

    def lines(self, stage: Stage, tasks: Sequence[Task], begun: Path) -> Iterator[str]:
        from concurrent.futures import as_completed

        for future in as_completed([self._pool.submit(work, stage, task, begun) for task in tasks]):
            yield future.result()

    def end(self) -> None:
        self._pool.shutdown()


class _Daft:
    """Tasks as rows of a Daft table, each row to whichever worker is free; Daft's runner is here or on Ray."""

    def __init__(self, engine: Engine) -> None:
        import daft

        self._engine = engine
        if engine.name == "ray":
            daft.set_runner_ray()

    def lines(self, stage: Stage, tasks: Sequence[Task], begun: Path) -> Iterator[str]:
        import daft

        parent = os.getpid() if self._engine.name == "daft" else None

        @daft.cls(use_process=True, max_concurrency=min(self._engine.workers, len(tasks)))
        class Worker:
            def __init__(self, job: bytes) -> None:
                self.stage, self.begun = pickle.loads(job)
                if parent is not None:
                    end_with_parent(parent)

            @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=1)
            def perform(self, tasks: Any) -> list[str]:
                return [work(self.stage, pickle.loads(task), self.begun) for task in tasks.to_pylist()]

        worker: Any = Worker(pickle.dumps((stage, begun)))
        frame = daft.from_pydict({"task": [pickle.dumps(task) for task in tasks]})
        if self._engine.name == "ray":
            frame = frame.into_partitions(len(tasks))
        for row in frame.select(worker.perform(frame["task"]).alias("line")).iter_rows():
            yield row["line"]

    def end(self) -> None:
        if self._engine.name == "ray":
            import ray

            ray.shutdown()


def all_lines(runner: Runner, stage: Stage, tasks: Sequence[Task], begun: Path) -> Iterator[str]:
    """The lines of all tasks. Raises RuntimeError where the runner ends before that, as Daft does at a SIGINT."""
    told = 0
    for told, line in enumerate(runner.lines(stage, tasks, begun), 1):  # noqa: B007 (used after the loop)
        yield line
    if told < len(tasks):
        raise RuntimeError(f"interrupted: {told} of {len(tasks)} parts were told of")


def _next_job() -> Any:
    """The next job; None where no more will come."""
    try:
        return pickle.load(sys.stdin.buffer)
    except EOFError:
        return None


def main() -> None:
    """Do one job after another, as they come on standard input."""
    engine = pickle.load(sys.stdin.buffer)
    end_with_parent(os.getppid())
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is none of our lines
    code = 0
    try:
        runner = _Pool(engine) if engine.name == "inline" else _Daft(engine)
        while (job := _next_job()) is not None:
            for line in all_lines(runner, *job):
                os.write(out, line.encode() + b"\n")
        runner.end()
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n")
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
