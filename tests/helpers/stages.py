"""A stage whose tasks do what they are told: write, fail, be killed, wait."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from chatwright.corpora.engine.stages import Beat, Task
from chatwright.corpora.reading.raw import FileError
from chatwright.errors import UserError


@dataclass(frozen=True)
class ToldStage:
    """A task's content is what to do; where it ends well, a file of its name holds the process that did it."""

    folder: Path

    def is_done(self, task: Task) -> bool:
        return (self.folder / task.name).exists()

    def perform(self, task: Task, beat: Beat) -> None:
        if task.content == "input":
            raise FileError(Path("a.txt"), "not text", "leave it out")
        if task.content == "user":
            raise UserError(f"{task.name} is not wanted; give another")
        if task.content == "bug":
            raise ValueError("nobody thought of this")
        if task.content == "memory":
            raise MemoryError
        if task.content == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if task.content == "slow":
            self.folder.with_name(f"begun-{task.name}").touch()
            for _ in range(30):
                time.sleep(0.1)
                beat(1)
        print("what a library prints")
        (self.folder / task.name).write_text(str(os.getpid()))
