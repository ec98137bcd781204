"""Curves as inline SVG, and as a line of characters for the terminal. Nothing is loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 280, 64, 36, 16, 16
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea")
_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_POINTS = 400


@dataclass(frozen=True)
class Curve:
    """A named series of (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """An SVG with axes, ticks and a legend; points that are not finite are left out."""
    drawn = [Curve(c.name, thin([p for p in c.points if all(map(math.isfinite, p))])) for c in curves]
    points = [point for curve in drawn for point in curve.points]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x_low, x_high, y_low, y_high = min(xs), max(max(xs), min(xs) + 1e-9), y_ticks[0], y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (y_high - y) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for value in y_ticks:
        _, y = place(x_low, value)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in (t for t in x_ticks if x_low <= t <= x_high):
        x, _ = place(value, y_low)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
    for index, curve in enumerate(drawn):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.extend(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>'
            for x, y in (place(*point) for point in (curve.points if len(curve.points) <= 12 else []))
        )
        at = _LEFT + 12 + 150 * index
        parts.append(f'<rect x="{at}" y="{_TOP}" width="12" height="3" fill="{colour}"/>')
        parts.append(f'<text x="{at + 18}" y="{_TOP + 6}">{escape(curve.name)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text x="4" y="12">{escape(y_label)}</text></svg>')
    return f"<figure><figcaption>{escape(title)}</figcaption>{''.join(parts)}</figure>"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover [low, high]."""
    span = max(high - low, abs(high) * 1e-6, 1e-9)
    raw = span / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def thin(points: Sequence[tuple[float, float]], most: int = _MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of its neighbours, so that a noisy curve can be read."""
    if len(points) <= most:
        return list(points)
    edges = [len(points) * i // most for i in range(most + 1)]
    groups = [points[a:b] for a, b in pairwise(edges)]
    return [(g[-1][0], sum(y for _, y in g) / len(g)) for g in groups]


def spark(values: Sequence[float], width: int = 60) -> str:
    """A curve as one line of block characters, the highest value a full block."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    points = [y for _, y in thin(list(enumerate(finite)), width)]
    low, high = min(points), max(points)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in points)
