"""Who wins: the share of prompts on which one side's reply is better, ties counted half, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatwright.evaluation.answers import wilson_interval


@dataclass(frozen=True)
class WinRate:
    """Wins, ties and losses of one side."""

    wins: int
    ties: int
    losses: int

    @property
    def total(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def rate(self) -> float:
        """(wins + ½ ties) / all; ½ where nothing was compared."""
        return (self.wins + self.ties / 2) / self.total if self.total else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the rate; ties make it wider than it need be, never narrower."""
        return wilson_interval(self.wins + self.ties / 2, self.total)


def compared(mine: Sequence[float], theirs: Sequence[float]) -> WinRate:
    """Compare scores reply by reply."""
    pairs = list(zip(mine, theirs, strict=True))
    wins, losses = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return WinRate(wins, len(pairs) - wins - losses, losses)
