"""Learning-rate schedules: a factor between 0 and 1 for every step of a run.

Each is a pure function of (step, steps): the first step already moves, the last step of the run is the last step of
the schedule, and a warm-up longer than the run is shortened to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from chatwright.config import option
from chatwright.errors import UserError


class Schedule(Protocol):
    def factor(self, step: int, steps: int) -> float:
        """The factor for step 0 … steps - 1 of a run of `steps`."""
        ...


@dataclass(frozen=True)
class _Shares:
    warmup: float = option(0.02, "share of the run over which the rate rises")
    floor: float = option(0.0, "factor at the end of the run")

    def __post_init__(self) -> None:
        for name in ("warmup", "floor", *(["decay"] if hasattr(self, "decay") else [])):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"schedule.{name}={getattr(self, name)} is not a share between 0 and 1")

    def _rise(self, step: int, steps: int) -> float:
        warm = self.warmup * steps
        return 1.0 if warm < 1 else min(1.0, (step + 1) / warm)


@dataclass(frozen=True)
class Constant(_Shares):
    """Warm-up, then constant."""

    def factor(self, step: int, steps: int) -> float:
        return self._rise(step, steps)


@dataclass(frozen=True)
class WarmupStableDecay(_Shares):
    """Warm-up, stable, then linear decay (Hu et al. 2024, MiniCPM, section 4)."""

    decay: float = option(0.5, "share of the run over which the rate falls")

    def factor(self, step: int, steps: int) -> float:
        falling = self.decay * steps
        left = (steps - step) / falling if falling >= 1 else 1.0
        return min(self._rise(step, steps), self.floor + (1.0 - self.floor) * min(1.0, left))


@dataclass(frozen=True)
class Cosine(_Shares):
    """Warm-up, then half a cosine (Loshchilov and Hutter 2017)."""

    def factor(self, step: int, steps: int) -> float:
        warm = self.warmup * steps
        done = max(0.0, (step + 1 - warm) / max(1.0, steps - warm + 1))
        fall = self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done))
        return min(self._rise(step, steps), fall)
