"""What long work shows while it runs: a bar with rate and time left on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False, soft_wrap=True)
_SECONDS_BETWEEN_LINES = 10.0


def say(text: str = "") -> None:
    """One line to the person who watches (standard error; results go to standard output)."""
    console.print(text, markup=False)


_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"},
    **dict.fromkeys(range(0x7F, 0xA0), "\ufffd"),
}


def visible(text: str) -> str:
    """What a model wrote, for a terminal: its control characters, which could move the cursor or worse, as pictures."""
    return text.translate(_PICTURES)


class Bar:
    """Progress of one stage. `total` is None where the end is not known."""

    def __init__(self, title: str, total: float | None) -> None:
        self.title, self.total = title, total
        self._begun = self._shown = time.monotonic()
        self._live: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._live = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
            self._live.start()
            self._task = self._live.add_task(title, total=total, note="")

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        """Show that `done` is done, of `total` if that has changed; `note` says what matters now (loss, tokens/s …)."""
        self.total = total or self.total
        if self._live:
            self._live.update(self._task, completed=done, total=self.total, note=note)
        elif time.monotonic() - self._shown >= _SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            self._line(done, note)

    def close(self, note: str = "") -> None:
        if self._live:
            self._live.update(self._task, completed=self.total, note=note)
            self._live.stop()

    def _line(self, done: float, note: str) -> None:
        spent = time.monotonic() - self._begun
        share = f"{done / self.total:4.0%}" if self.total else f"{done:,.0f}"
        left = f", {spent / done * (self.total - done):.0f} s left" if self.total and done else ""
        said = note.removeprefix(share.strip())
        said = said if said != note or not note else f" {note}"
        say(f"  {self.title}: {share}{said} ({spent:.0f} s{left})")


@contextmanager
def bar(title: str, total: float | None = None) -> Iterator[Bar]:
    """Show the progress of a block of work."""
    shown = Bar(title, total)
    try:
        yield shown
    finally:
        shown.close()


def is_interactive() -> bool:
    """Whether a person sits at both ends of this process."""
    return sys.stdin.isatty() and sys.stdout.isatty()
