"""Charts as inline SVG, and a curve as a line of characters for the terminal. Nothing is loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 324, 70, 52, 38, 24
_SQUARE = 380
_COLOURS = 4
_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_POINTS = 400
_BINS = 10

# the Okabe–Ito colours, which are told apart by people who see fewer; on a phone the text grows as the chart shrinks
CHART_STYLE = """
figure { margin: 1.5rem 0 .5rem } figcaption { font-weight: 600; margin-bottom: .3rem }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: currentColor }
svg.square { max-width: 400px; display: block }
.grid { stroke: currentColor; stroke-opacity: .15 }
.mark { stroke: currentColor; stroke-opacity: .6; stroke-dasharray: 5 4 }
.legend { font-size: .85rem } .legend span { margin-right: 1.2rem; white-space: nowrap }
.legend i { display: inline-block; width: 1.4rem; margin-right: .4rem; vertical-align: middle; border-top: 3px solid }
.legend i.dashed { border-top-style: dashed }
.legend em { font-style: normal; color: CanvasText }
.c0 { color: #0072b2 } .c1 { color: #d55e00 } .c2 { color: #009e73 } .c3 { color: #b0528c }
.axis, .whisker { stroke: currentColor } .tinted { fill: currentColor }
@media (prefers-color-scheme: dark) { .c0 { color: #56b4e9 } .c1 { color: #f09030 } .c2 { color: #2fc79b } .c3 { color: #e39ac4 } }
@media (max-width: 600px) { svg { font-size: 20px } svg.square { font-size: 13px } }
"""


@dataclass(frozen=True)
class Curve:
    """A named series of (x, y). A dashed one has the colour of the curve before it: the same, measured otherwise."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A dashed line across a chart, at an x or a y, with its name."""

    at: float
    name: str


@dataclass(frozen=True)
class Bin:
    """Predictions that lie together: their mean, the share that came true, how many they are."""

    predicted: float
    observed: float
    count: float


@dataclass(frozen=True)
class _Frame:
    """Where values land in a drawing of `width` × `height` units."""

    x_low: float
    x_high: float
    y_ticks: Sequence[float]
    right: float = _RIGHT
    width: float = _WIDTH
    height: float = _HEIGHT

    @property
    def y_low(self) -> float:
        return self.y_ticks[0]

    @property
    def y_high(self) -> float:
        return self.y_ticks[-1]

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_low) / (self.x_high - self.x_low) * (self.width - _LEFT - self.right)
        down = (self.y_high - y) / (self.y_high - self.y_low) * (self.height - _TOP - _BOTTOM)
        return _LEFT + across, _TOP + down


def line_chart(
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    right: Sequence[Curve] = (),
    right_label: str = "",
    marks: Sequence[Mark] = (),
    levels: Sequence[Mark] = (),
    scattered: bool = False,
    floor: float | None = None,
) -> str:
    """A figure with axes, ticks and a legend; "" without any point. Points that are not finite are left out.

    The curves of `right` have a scale of their own, on the right. `marks` stand at an x, `levels` at a y of the left
    scale. `scattered` draws every point and a line through the means of neighbours, for an x that goes to and fro.
    """
    left, right = _finite(curves, scattered), _finite(right, scattered)
    points = [point for curve in (*left, *right) for point in curve.points]
    if not points:
        return ""
    if not left:
        return line_chart(title, right, x_label, right_label, marks=marks, scattered=scattered)
    ys = [y for curve in left for _, y in curve.points] + [mark.at for mark in levels]
    frame = _frame(points, ys if floor is None else [*ys, floor], bool(right))
    body = [*_y_axis(frame), *_x_axis(frame), *_dashed(frame, marks, levels)]
    colours = _colours(left, right)
    body += [_drawn(frame, curve, colour, scattered) for curve, colour in zip(left, colours, strict=False)]
    if right:
        beside = _frame(points, [y for curve in right for _, y in curve.points], True)
        rest = colours[len(left) :]
        body += _right_axis(beside, rest[0])
        body += [_drawn(beside, curve, colour, scattered) for curve, colour in zip(right, rest, strict=True)]
        body.append(f'<text x="{_WIDTH - 4}" y="16" text-anchor="end">{escape(right_label)}</text>')
    body.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
        f'<text x="4" y="16">{escape(y_label)}</text>'
    )
    names = [*(c.name for c in left), *(f"{c.name} (right scale)" for c in right)]
    return _figure(title, "".join(body), _legend(names, [c.dashed for c in (*left, *right)], colours))


def reliability_chart(title: str, bins: Sequence[Bin]) -> str:
    """What was predicted across, what came true upwards, an ideal diagonal; a larger disc stands for more cases."""
    kept = [b for b in bins if all(map(math.isfinite, (b.predicted, b.observed, b.count))) and b.count > 0]
    if not kept:
        return ""
    low = min(0.5, *(b.predicted for b in kept), *(b.observed for b in kept))
    low = 0.0 if low < 0.5 else 0.5
    frame = _Frame(low, 1.0, ticks(low, 1.0), width=_SQUARE, height=_SQUARE)
    (x0, y0), (x1, y1) = frame.place(low, low), frame.place(1.0, 1.0)
    body = [*_y_axis(frame), *_x_axis(frame)]
    body.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="mark"/>')
    most = max(b.count for b in kept)
    for item in kept:
        x, y = frame.place(item.predicted, item.observed)
        radius = 3 + 9 * math.sqrt(item.count / most)
        body.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="c0 tinted" fill-opacity=".7"/>'
        )
    body.append(
        f'<text x="{_SQUARE - _RIGHT}" y="{_SQUARE - 6}" text-anchor="end">predicted</text>'
        '<text x="4" y="16">came true</text>'
    )
    return _figure(title, "".join(body), "", _SQUARE, _SQUARE)


def interval_chart(title: str, value: float, interval: tuple[float, float] | None, chance: float) -> str:
    """A share from 0 to 1 as a bar, its interval as whiskers, the chance level as a dashed line."""
    frame = _Frame(0.0, 1.0, (0.0, 1.0), right=40, height=_TOP + _BOTTOM + 44)
    (left, top), (end, bottom) = frame.place(0.0, 1.0), frame.place(value, 0.0)
    body = list(_x_axis(frame, percent=True))
    body.append(
        f'<rect x="{left:.1f}" y="{top + 8:.1f}" width="{end - left:.1f}" height="{bottom - top - 16:.1f}" class="c0 tinted"/>'
    )
    if interval:
        low, high, middle = frame.place(interval[0], 0)[0], frame.place(interval[1], 0)[0], (top + bottom) / 2
        body.append(
            f'<path d="M{low:.1f} {middle - 7}v14M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 7}v14" class="whisker" stroke-width="2.5" fill="none"/>'
        )
    coin, _ = frame.place(chance, 0.0)
    body.append(
        f'<line x1="{coin:.1f}" y1="{top:.1f}" x2="{coin:.1f}" y2="{bottom:.1f}" class="mark"/>'
        f'<text x="{coin:.1f}" y="{top - 6:.1f}" text-anchor="middle">chance</text>'
    )
    return _figure(title, "".join(body), "", height=frame.height)


def _finite(curves: Sequence[Curve], scattered: bool) -> list[Curve]:
    drawn = []
    for curve in curves:
        points = [point for point in curve.points if all(map(math.isfinite, point))]
        if points:
            drawn.append(replace(curve, points=sorted(points) if scattered else thin(points)))
    return drawn


def _frame(points: Sequence[tuple[float, float]], ys: Sequence[float], is_double: bool) -> _Frame:
    xs = [x for x, _ in points]
    right = _LEFT if is_double else _RIGHT
    return _Frame(min(xs), max(max(xs), min(xs) + 1e-9), ticks(min(ys), max(ys)), right)


def _y_axis(frame: _Frame) -> list[str]:
    parts = []
    for value in frame.y_ticks:
        _, y = frame.place(frame.x_low, value)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{frame.width - frame.right}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    return parts


def _right_axis(frame: _Frame, colour: int) -> list[str]:
    parts = []
    for value in frame.y_ticks:
        _, y = frame.place(frame.x_low, value)
        parts.append(
            f'<text x="{frame.width - frame.right + 6}" y="{y + 4:.1f}" class="c{colour} tinted">{value:g}</text>'
        )
    return parts


def _x_axis(frame: _Frame, percent: bool = False) -> list[str]:
    parts = []
    for value in (t for t in ticks(frame.x_low, frame.x_high) if frame.x_low <= t <= frame.x_high):
        x, y = frame.place(value, frame.y_low)
        shown = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(f'<text x="{x:.1f}" y="{y + 22:.1f}" text-anchor="middle">{shown}</text>')
    return parts


def _dashed(frame: _Frame, marks: Sequence[Mark], levels: Sequence[Mark]) -> list[str]:
    lines = []
    for mark in marks:
        (x, y0), (_, y1) = frame.place(mark.at, frame.y_low), frame.place(mark.at, frame.y_high)
        anchor = "end" if x > frame.width * 0.6 else "start"
        lines.append((x, y0, x, y1, x + (-6 if anchor == "end" else 6), y1 + 14, anchor, mark.name))
    for mark in levels:
        (x0, y), (x1, _) = frame.place(frame.x_low, mark.at), frame.place(frame.x_high, mark.at)
        lines.append((x0, y, x1, y, x1 - 4, y - 4, "end", mark.name))
    return [
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="mark"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
        for x0, y0, x1, y1, x, y, anchor, name in lines
    ]


def _colours(left: Sequence[Curve], right: Sequence[Curve]) -> list[int]:
    """A new colour for every curve that is not dashed, and for the first of each side."""
    found: list[int] = []
    for index, curve in enumerate((*left, *right)):
        is_new = not curve.dashed or index in (0, len(left))
        found.append((max(found, default=-1) + 1 if is_new else found[-1]) % _COLOURS)
    return found


def _drawn(frame: _Frame, curve: Curve, colour: int, scattered: bool) -> str:
    """The line of a curve, in its colour; its points too where they are few, or the line is made of means."""
    means = _binned(curve.points) if scattered else curve.points
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.place(*point) for point in means))
    dashes = ' stroke-dasharray="7 4"' if curve.dashed else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2"{dashes}/>']
    opacity = ".35" if scattered else "1"
    if scattered or len(curve.points) <= 12:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="tinted" fill-opacity="{opacity}"/>'
            for x, y in (frame.place(*point) for point in curve.points)
        ]
    return f'<g class="c{colour}">{"".join(parts)}</g>'


def _legend(names: Sequence[str], dashed: Sequence[bool], colours: Sequence[int]) -> str:
    keys = [
        f'<span class="c{colour}"><i{" class=dashed" if is_dashed else ""}></i><em>{escape(name)}</em></span>'
        for name, is_dashed, colour in zip(names, dashed, colours, strict=True)
    ]
    return f'<div class="legend">{"".join(keys)}</div>'


def _figure(title: str, body: str, legend: str, width: float = _WIDTH, height: float = _HEIGHT) -> str:
    shape = ' class="square"' if width == height else ""
    svg = (
        f'<svg viewBox="0 0 {width:g} {height:g}"{shape} role="img" aria-label="{escape(title)}">{body}</svg>'
    )
    return f"<figure><figcaption>{escape(title)}</figcaption>{legend}{svg}</figure>"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover [low, high]."""
    span = max(high - low, abs(high) * 1e-6, 1e-9) if high > low else abs(high) / 2 or 1.0
    raw = span / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def _binned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points in order of x as means over bins of equal width: a crowd at one x becomes one mean, not a zigzag."""
    if len(points) <= _BINS:
        return list(points)
    low, high = points[0][0], points[-1][0]
    groups: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        groups.setdefault(min(_BINS - 1, int((x - low) / max(high - low, 1e-9) * _BINS)), []).append((x, y))
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups.values()]


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
