"""A model's picture as SVG: what `anatomy` finds, from the tokens at the top to what it gives at the bottom."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from chatwright.insight.anatomy import Chain, Column, Part, Row, anatomy, built
from chatwright.insight.anatomy_words import Say, speaker

BOX, SIDE, FORK = 300, 180, 244
_MARGIN, _GAP, _BETWEEN, _TIMES = 24, 24, 156, 70
_LINE, _PAD, _RADIUS, _TOP = 17, 9, 10, 64
_DETOUR = 22
_TITLE_SIZE, _LINE_SIZE = 14, 12.5

_STYLE = """
text { font-family: system-ui, 'Helvetica Neue', Arial, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif;
  font-size: 12.5px; fill: #44505e; text-anchor: middle }
.name { font-size: 14px; font-weight: 600; fill: #17202b } .title { font-size: 16px; font-weight: 600; fill: #17202b }
.card { fill: #fcfcfb; stroke: #d9dde2 } .frame { fill: #f1f3f5; stroke: #9aa5b1; stroke-dasharray: 5 4 }
.wire { fill: none; stroke: #5c6875; stroke-width: 1.6 } .tip { fill: #5c6875 }
.sum { fill: #fcfcfb; stroke: #5c6875; stroke-width: 1.6 }
.table rect { fill: #e3eefb; stroke: #5b8fc7 } .norm rect { fill: #eceee4; stroke: #8f9a66 }
.attention rect { fill: #fdeadb; stroke: #d08a4e } .feed_forward rect { fill: #e0f2ea; stroke: #4f9f80 }
.head rect { fill: #efe6f6; stroke: #9571b5 }
@media (prefers-color-scheme: dark) {
  text { fill: #b6c0cb } .name, .title { fill: #eef2f6 } .card { fill: #161b22; stroke: #30363d }
  .frame { fill: #1e252e; stroke: #66727f } .wire { stroke: #93a0ad } .tip { fill: #93a0ad }
  .sum { fill: #161b22; stroke: #93a0ad }
  .table rect { fill: #17324f } .norm rect { fill: #33371f } .attention rect { fill: #4a2f18 }
  .feed_forward rect { fill: #143a2d } .head rect { fill: #372650 }
}
"""


def picture(options: Any, title: str, language: str = "en") -> str:
    """The architecture of these options as an SVG document, for light and for dark pages. language: en or zh."""
    say = speaker(language)
    return drawing(anatomy(built(options), say), title, say, language)


def drawing(columns: Sequence[Column], title: str, say: Say, language: str = "en") -> str:
    """Columns as an SVG document."""
    sheet, is_alone = _Sheet(say), len(columns) == 1
    has_sides = any(row.side for column in columns for chain in column.chains for row in chain.rows)
    fork = max(len(column.forks) for column in columns)
    branches = (fork * (FORK + _MARGIN) - _MARGIN - BOX) / 2
    inner = _DETOUR + _TIMES
    outer = max(SIDE + 2 * _MARGIN if has_sides else inner, branches)
    # of a single column, what comes from beside comes from the left; of two, everything but links is outside
    places = [
        _Place(
            _MARGIN + outer + BOX / 2 + index * (BOX + _BETWEEN),
            right_detours=is_alone or index > 0,
            right_sides=index > 0,
        )
        for index in range(len(columns))
    ]
    width = places[-1].x + BOX / 2 + (max(inner, branches) if is_alone else outer) + _MARGIN
    ends = [sheet.column(column, place) for column, place in zip(columns, places, strict=True)]
    sheet.links(places)
    height = max(ends) + _MARGIN
    described = "; ".join(_told(column) for column in columns)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" lang="{language}"><title>{escape(title)}</title><desc>{escape(described)}</desc>'
        f"<style>{_STYLE}</style>"
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="10" class="card"/>'
        f'<text x="{width / 2:g}" y="34" class="title">{escape(title)}</text>'
        f"{''.join(sheet.frames)}{''.join(sheet.wires)}{''.join(sheet.boxes)}</svg>\n"
    )


def _told(column: Column) -> str:
    """A column in words, for those who do not see it."""
    chains = []
    for chain in column.chains:
        names = ", ".join(row.part.title if row.part else "+" for row in chain.rows)
        chains.append(f"{chain.times} × ({names})" if chain.times else names)
    forks = " | ".join(part.title for part in column.forks)
    said = " → ".join([column.reads, *chains, *([forks] if forks else []), *filter(None, [column.gives])])
    return f"{column.title}: {said}" if column.title else said


def text_width(text: str, size: float) -> float:
    """About how wide a text is, in pixels."""
    units = (1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.54 for letter in text)
    return size * sum(units)


def part_height(part: Part) -> float:
    return 2 * _PAD + _LINE * (1 + len(part.lines))


def _spare(row: Row) -> float:
    """How much higher, on either side, what comes in from beside an addition is than the addition."""
    return part_height(row.side) / 2 - _RADIUS if row.side and not row.part else 0.0


@dataclass
class _Place:
    """Where a column stands: x of its middle, on which side detours and sides lie; and what its links need to know."""

    x: float
    right_detours: bool
    right_sides: bool
    end: float = 0.0
    block: float = 0.0
    asking: list[tuple[str, float]] = field(default_factory=list)

    def beside(self, distance: float, right: bool) -> float:
        """x at a distance from the box's edge."""
        return self.x + (BOX / 2 + distance) * (1 if right else -1)


class _Sheet:
    """The SVG of one picture, in three layers."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.frames: list[str] = []
        self.wires: list[str] = []
        self.boxes: list[str] = []

    def column(self, column: Column, place: _Place) -> float:
        """Draw a column from the top; returns where it ends."""
        y = float(_TOP)
        if column.title:
            self._text(place.x, y + 6, column.title, "name")
            y += 26
        self._text(place.x, y + 6, column.reads)
        y += 14
        for chain in column.chains:
            y = self._chain(chain, place, y)
        place.end = y
        if column.forks:
            return self._forks(column.forks, place, y)
        if column.gives:
            self._wire([(place.x, y), (place.x, y + _GAP)], tip=True)
            self._text(place.x, y + _GAP + 16, column.gives)
            return y + _GAP + 22
        return y + _GAP

    def _chain(self, chain: Chain, place: _Place, y: float) -> float:
        """Rows from y on, with a frame where they are a block; returns where the last one ends."""
        begin = y + (_GAP / 2 if chain.times else 0.0)
        if chain.times:
            self._wire([(place.x, y), (place.x, begin)])
            place.block, y = begin + 8, begin + 8
            self._wire([(place.x, begin), (place.x, y)])
        passed, before = [y], 0.0
        for row in chain.rows:
            spare = _spare(row)
            top = y + max(_GAP, before + spare + 8)
            self._wire([(place.x, y), (place.x, top)], tip=row.part is not None)
            y, before = self._row(row, place, top, passed), spare
            passed.append(y)
        if chain.times:
            self._wire([(place.x, y), (place.x, y + 14)])
            y += 14
            self._frame(place, begin, y, chain.times)
        return y

    def _row(self, row: Row, place: _Place, top: float, passed: Sequence[float]) -> float:
        """passed: y of the chain's beginning and of the ends of its rows so far. Returns where this row ends."""
        height = part_height(row.part) if row.part else 2 * _RADIUS
        middle = top + height / 2
        if row.part:
            self._box(row.part, place.x, top, BOX)
        else:
            self._sum(place.x, middle)
        if row.skip is not None:
            away = place.beside(_DETOUR, place.right_detours)
            edge = place.x + _RADIUS * (1 if place.right_detours else -1)
            from_y = passed[row.skip + 1] + 5
            self._wire([(place.x, from_y), (away, from_y), (away, middle), (edge, middle)], tip=True)
        if row.side:
            self._side(row.side, place, middle, BOX / 2 if row.part else _RADIUS)
        if row.link:
            place.asking.append((row.link, middle))
        return top + height

    def _side(self, part: Part, place: _Place, middle: float, reach: float) -> None:
        sign = 1 if place.right_sides else -1
        centre = place.beside(2 * _MARGIN + SIDE / 2 - 4, place.right_sides)
        height = part_height(part)
        self._box(part, centre, middle - height / 2, SIDE)
        self._wire([(centre - sign * SIDE / 2, middle), (place.x + sign * reach, middle)], tip=True)

    def _forks(self, parts: Sequence[Part], place: _Place, y: float) -> float:
        height = max(part_height(part) for part in parts)
        first = place.x - (len(parts) - 1) * (FORK + _MARGIN) / 2
        for index, part in enumerate(parts):
            x = first + index * (FORK + _MARGIN)
            self._wire([(place.x, y), (place.x, y + 12), (x, y + 12), (x, y + 12 + _GAP)], tip=True)
            self._box(part, x, y + 12 + _GAP, FORK)
        return y + 12 + _GAP + height

    def links(self, places: Sequence[_Place]) -> None:
        """What the last column takes from the first: its end, or what goes into its block."""
        for link, middle in places[-1].asking:
            giver, taker = places[0], places[-1]
            from_y = giver.end + 12 if link == "end" else giver.block
            between = (giver.x + taker.x) / 2
            begun = [(giver.x, giver.end), (giver.x, from_y)] if link == "end" else [(giver.x, from_y)]
            edge = taker.x - BOX / 2
            self._wire([*begun, (between, from_y), (between, middle), (edge, middle)], tip=True)
            self._text(between, from_y + (18 if link == "end" else -8), self.say("keys_of"))

    def _frame(self, place: _Place, begin: float, end: float, times: int) -> None:
        near, far = place.beside(14, not place.right_detours), place.beside(_DETOUR + 12, place.right_detours)
        left = min(near, far)
        self.frames.append(
            f'<rect x="{left:g}" y="{begin:g}" width="{abs(far - near):g}" height="{end - begin:g}" rx="9" class="frame"/>'
        )
        x = far + 30 * (1 if place.right_detours else -1)
        self._text(x, (begin + end) / 2 + 5, f"× {times}", "title")

    def _box(self, part: Part, x: float, top: float, width: float) -> None:
        height = part_height(part)
        self.boxes.append(
            f'<g class="{part.kind}"><rect x="{x - width / 2:g}" y="{top:g}" width="{width:g}" height="{height:g}" '
            'rx="6"/></g>'
        )
        for index, line in enumerate((part.title, *part.lines)):
            y = top + _PAD + 13 + index * _LINE
            self._text(x, y, line, "" if index else "name")

    def _sum(self, x: float, y: float) -> None:
        arm = _RADIUS - 4
        self.boxes.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS}" class="sum"/>'
            f'<path d="M{x - arm:g} {y:g}H{x + arm:g}M{x:g} {y - arm:g}V{y + arm:g}" class="wire"/>'
        )

    def _wire(self, points: Sequence[tuple[float, float]], tip: bool = False) -> None:
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        self.wires.append(f'<path d="{path}" class="wire"/>')
        if not tip:
            return
        (x0, _), (x1, y1) = points[-2:]
        if x0 == x1:
            head = f"M{x1:g} {y1:g}l-4 -8h8z"
        else:
            back = -8 if x1 > x0 else 8
            head = f"M{x1:g} {y1:g}l{back} -4v8z"
        self.wires.append(f'<path d="{head}" class="tip"/>')

    def _text(self, x: float, y: float, text: str, kind: str = "") -> None:
        given = f' class="{kind}"' if kind else ""
        self.boxes.append(f'<text x="{x:g}" y="{y:g}"{given}>{escape(text)}</text>')
