"""How fast steps really go, and how many of them fit into the time that is left."""

from __future__ import annotations

# The first steps of a process warm up: caches, memory, perhaps a compiler.
_WARM_UP = 3
_FEWEST = 10


class Pace:
    """The steps that this process has done, and the seconds that they took."""

    def __init__(self) -> None:
        self._seen, self._steps, self._seconds = 0, 0, 0.0

    def note(self, seconds: float) -> None:
        """A step took so long."""
        self._seen += 1
        if self._seen > _WARM_UP:
            self._steps += 1
            self._seconds += seconds

    def fitting(self, step: int, seconds_left: float, planned: int) -> int:
        """How many steps the run will have when `step` are done; `planned` until enough steps were seen to tell."""
        if self._steps < _FEWEST:
            return planned
        return step + max(1, round(seconds_left * self._steps / self._seconds))
