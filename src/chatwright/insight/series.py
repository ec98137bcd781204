"""Series out of a run's metrics, and what can be said of one: where it starts and ends, and whether it moved."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
Series = list[tuple[float, float]]

ENOUGH = 5
_STANDARD_ERRORS = 3.0


def number(value: object) -> float | None:
    """A finite number, or None for everything else (True is no number here)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def series(rows: Rows, group: str, name: str) -> Series:
    """(step, value) of every row that has a finite number `name` in its field `group`."""
    found = []
    for row in rows:
        part = row.get(group)
        value = number(part.get(name)) if isinstance(part, Mapping) else None
        if value is not None:
            found.append((float(row["step"]), value))
    return found


def watched(rows: Rows, name: str) -> Series:
    """The series of a measure in the rollouts; in the evaluations where the rollouts have too little of it."""
    sampled, held_out = series(rows, "rollout", name), series(rows, "evaluation", name)
    return sampled if len(sampled) >= min(ENOUGH, len(held_out)) else held_out


def by_rollout(rows: Rows, points: Series) -> Series:
    """The points of the steps between one rollout and the next as one mean, at the last of them.

    Within a rollout a measure climbs from pass to pass and falls back, which as a curve is a comb. Without rollouts
    the points stay as they are.
    """
    begins = [float(row["step"]) for row in rows if "rollout" in row]
    groups: dict[int, Series] = {}
    for x, y in points:
        groups.setdefault(bisect_right(begins, x), []).append((x, y))
    return [(g[-1][0], mean([y for _, y in g])) for g in groups.values()] if begins else points


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def width(points: Series) -> int:
    """How many points make a start, an end or a smoothed value: a fifth of all."""
    return max(1, len(points) // 5)


def start(points: Series) -> float:
    """The mean of the first fifth."""
    return mean([y for _, y in points[: width(points)]])


def begin(points: Series) -> float:
    """The mean of the first tenth: what a measure was before training moved it."""
    return mean([y for _, y in points[: max(1, len(points) // 10)]])


def end(points: Series) -> float:
    """The mean of the last fifth."""
    return mean([y for _, y in points[-width(points) :]])


def late(points: Series) -> float:
    """The mean of the last third, of three points at least."""
    return mean([y for _, y in points[-max(3, len(points) // 3) :]])


def smooth(points: Series, over: int | None = None) -> Series:
    """Each value as the mean of about `over` neighbours (default: a fifth of all); fewer at both ends."""
    reach = (over or width(points)) // 2
    ys = [y for _, y in points]
    return [(x, mean(ys[max(0, i - reach) : i + reach + 1])) for i, (x, _) in enumerate(points)]


def error(points: Series) -> float:
    """The standard error of a difference of two means over `width` points.

    The noise is taken from second differences, which a steady rise or fall leaves at 0.
    """
    ys = [y for _, y in points]
    bends = [(c - 2 * b + a) ** 2 for a, b, c in zip(ys, ys[1:], ys[2:], strict=False)]
    return math.sqrt(mean(bends) / 6 * 2 / width(points)) if bends else math.inf


def rise(points: Series) -> float:
    """How much higher the end lies than the start; 0 where that may be noise or the points are few."""
    if len(points) < ENOUGH:
        return 0.0
    moved = end(points) - start(points)
    return moved if abs(moved) > _STANDARD_ERRORS * error(points) else 0.0


def fall_from_best(points: Series) -> tuple[float, float] | None:
    """(step, value) of the highest smoothed value, where the end lies clearly below it; else None."""
    if len(points) < ENOUGH:
        return None
    curve = smooth(points)
    values = [y for _, y in curve]
    best = values.index(max(values))
    fall = values[best] - end(points)
    clear = max(_STANDARD_ERRORS * error(points), 0.1 * (max(values) - min(values)))
    return curve[best] if fall > clear else None


def since(points: Series, holds: Callable[[float], bool]) -> int:
    """The step from which on a smoothed series holds without a break up to its end."""
    first = points[-1][0]
    for x, y in reversed(smooth(points)):
        if not holds(y):
            break
        first = x
    return int(first)


def value_at(points: Series, step: float) -> float:
    """The smoothed value at the point nearest to a step."""
    return min(smooth(points), key=lambda point: abs(point[0] - step))[1]
