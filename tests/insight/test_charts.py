"""Charts: points, marks, bars and whiskers stand where they belong."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from chatwright.insight.charts import (
    Bin,
    Curve,
    Mark,
    interval_chart,
    line_chart,
    reliability_chart,
    spark,
    thin,
    ticks,
)
from helpers.pages import drawn, line


def test_points_stand_where_they_belong() -> None:
    chart = line_chart("a < b", [Curve("x & y", [(0, 0.0), (5, float("nan")), (10, 1.0)])], "step", "nats")
    svg = ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</figure>")])
    [line] = svg.iter("polyline")
    (x0, y0), (x1, y1) = (tuple(map(float, point.split(","))) for point in line.attrib["points"].split())
    assert x0 < x1
    assert y0 > y1, "up is more"
    assert line_chart("empty", [Curve("nothing", [])], "", "") == ""


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (3.2, 3.9), (-5.0, 120.0), (2.0, 2.0), (1e-6, 3e-6)])
def test_ticks_are_few_and_cover(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    assert found == sorted(set(found))


def test_a_long_curve_is_thinned_to_means() -> None:
    points = [(float(x), float(x % 2)) for x in range(1000)]
    thinned = thin(points, 100)
    assert len(thinned) == 100
    assert {y for _, y in thinned} == {0.5}
    assert thin(points[:5], 100) == points[:5]


def test_a_spark_rises_and_falls() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert spark([2, 2]) == "▁▁"
    assert spark([]) == spark([float("nan")]) == ""
    assert len(spark(list(range(500)))) == 60


def test_the_right_scale_is_of_its_own() -> None:
    small, large = Curve("a", [(0, 0.0), (1, 1.0)]), Curve("b", [(0, 0.0), (1, 1000.0)])
    left, right = drawn(line_chart("t", [small], "", "", [large])).iter("polyline")
    assert line(left) == line(right), "both fill their scales"
    both = list(drawn(line_chart("t", [small, large], "", "")).iter("polyline"))
    assert line(both[0])[1][1] > line(both[1])[1][1] + 100
    assert "b (right scale)" in line_chart("t", [small], "", "", [large])
    assert "right scale" not in line_chart("t", [], "", "", [large])


def test_marks_levels_and_the_floor_stand_where_they_belong() -> None:
    figure = line_chart(
        "t",
        [Curve("a", [(0, 2.0), (10, 4.0)])],
        "",
        "",
        marks=[Mark(5, "m")],
        levels=[Mark(3, "l")],
        floor=0.0,
    )
    svg = drawn(figure)
    [curve] = svg.iter("polyline")
    (x0, y0), (x1, y1) = line(curve)
    mark, level = (e.attrib for e in svg.iter("line") if e.attrib["class"] == "mark")
    assert float(mark["x1"]) == float(mark["x2"]) == pytest.approx((x0 + x1) / 2, abs=0.1)
    assert float(level["y1"]) == float(level["y2"]) == pytest.approx((y0 + y1) / 2, abs=0.1)
    lowest = max(float(e.attrib["y1"]) for e in svg.iter("line") if e.attrib["class"] == "grid")
    assert lowest - y0 == pytest.approx(y0 - y1, abs=0.2), "2 lies as far above 0 as 4 above 2"


def test_a_scattered_curve_runs_through_means_in_the_order_of_x() -> None:
    points = [(49.0 - x % 50, float(x % 2)) for x in range(200)]
    svg = drawn(line_chart("t", [Curve("a", points)], "", "", scattered=True))
    [curve] = svg.iter("polyline")
    xs, ys = zip(*line(curve), strict=True)
    assert list(xs) == sorted(xs)
    assert len(xs) == 10
    assert max(ys) - min(ys) < 100, "means, not the points' own 0 and 1"
    assert len(list(svg.iter("circle"))) == 200


def test_a_reliable_judge_lies_on_the_diagonal() -> None:
    bins = [Bin(0.6, 0.6, 10), Bin(0.9, 0.9, 40), Bin(0.7, 0.6, 10), Bin(0.8, float("nan"), 10), Bin(1, 1, 0)]
    on, far, below = drawn(reliability_chart("t", bins)).iter("circle")
    [diagonal] = [
        e.attrib for e in drawn(reliability_chart("t", bins)).iter("line") if e.attrib["class"] == "mark"
    ]
    slope = (float(diagonal["y2"]) - float(diagonal["y1"])) / (float(diagonal["x2"]) - float(diagonal["x1"]))

    def off(circle: ElementTree.Element) -> float:
        x, y = float(circle.attrib["cx"]), float(circle.attrib["cy"])
        return y - (float(diagonal["y1"]) + slope * (x - float(diagonal["x1"])))

    assert off(on) == pytest.approx(0, abs=0.2)
    assert off(far) == pytest.approx(0, abs=0.2)
    assert off(below) > 10
    assert float(far.attrib["r"]) > float(on.attrib["r"])
    assert reliability_chart("t", []) == ""


def test_a_bar_ends_at_its_value_between_its_whiskers() -> None:
    svg = drawn(interval_chart("t", 0.5, (0.25, 0.75), 0.5))
    [bar], [whiskers], [coin] = svg.iter("rect"), svg.iter("path"), svg.iter("line")
    left, width = float(bar.attrib["x"]), float(bar.attrib["width"])
    low = float(whiskers.attrib["d"].split()[0][1:])
    high = float(whiskers.attrib["d"].split("H")[1].split("M")[0])
    assert float(coin.attrib["x1"]) == pytest.approx(left + width, abs=0.2)
    assert low - left == pytest.approx(width / 2, abs=0.2)
    assert high - left == pytest.approx(width * 1.5, abs=0.2)
    assert "<path" not in interval_chart("t", 0.5, None, 0.5)
