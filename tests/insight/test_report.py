"""The report: both curves, nothing from the network, and what a model wrote stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chatwright import runs
from chatwright.insight.charts import Curve, line_chart, spark, thin, ticks
from chatwright.insight.report import render
from chatwright.runs import Run

VOID = {"meta", "br"}
ATTACK = "</pre><script>alert('猫')</script><img src=x onerror=alert(1)>&amp;"


class Balanced(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    with runs.start("pretrain", tmp_path / f"<b>{'run'}", {"note": ATTACK}) as run:
        run.resolve({"kernel": "plain"})
        run.log(step=0, evaluation={"loss": 6.0, "bits_per_byte": 5.0, "samples": []})
        for step in range(1, 30):
            run.log(step=step, loss={"next_token": 6.0 / step}, gradient_norm=1.0, rate_factor=1.0)
        run.log(step=29, evaluation={"loss": 1.0, "bits_per_byte": 2.0, "samples": [ATTACK]})
        return run.finish([], note=ATTACK)


def test_the_page_is_whole_and_stands_alone(trained: Run) -> None:
    page = render(trained)
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert page.startswith("<!doctype html>")
    assert not re.search(r"""<[^>]*\s(?:src|href)=|https?://|@import|url\(""", page)


def test_both_curves_and_the_samples_are_there(trained: Run) -> None:
    page = render(trained)
    assert "training: next token" in page
    assert ">validation<" in page
    assert page.count("<svg") == 3
    assert "What it writes" in page


def test_what_a_model_wrote_is_never_html(trained: Run) -> None:
    parser = Balanced()
    parser.feed(render(trained))
    assert not parser.seen & {"script", "img", "b"}


def test_a_run_without_metrics_has_a_page_too(tmp_path: Path) -> None:
    with runs.start("corpus", tmp_path / "run", {}) as run:
        assert "<svg" not in render(run)


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


def test_metrics_that_are_shown_are_the_files(trained: Run) -> None:
    rows = [json.loads(line) for line in (trained.directory / "metrics.jsonl").read_text().splitlines()]
    assert rows == trained.metrics()
