"""The command line in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
_PATIENCE_SECONDS = 900


def environment() -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    return {**kept, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def chatwright(
    *words: str | Path, module: Sequence[str] = ("chatwright",)
) -> subprocess.CompletedProcess[str]:
    """Run `chatwright WORDS…` to its end."""
    command = [sys.executable, "-m", *module, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=_PATIENCE_SECONDS, check=False
    )


def torchrun(size: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The same verb on several processes."""
    launch = ("torch.distributed.run", "--standalone", f"--nproc-per-node={size}", "-m", "chatwright")
    return chatwright(*words, module=launch)


def begin(*words: str | Path) -> subprocess.Popen[str]:
    """Start `chatwright WORDS…` and return while it runs."""
    command = [sys.executable, "-m", "chatwright", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def killed_when(
    moment: Callable[[], bool], *words: str | Path, number: int = signal.SIGKILL
) -> tuple[int, str]:
    """Start a command, send it a signal at the first sight of `moment`; returns exit code and standard error."""
    process = begin(*words)
    ends = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        if moment():
            process.send_signal(number)
            break
        time.sleep(0.001)
    _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    return process.returncode, said
