"""The report: both curves, nothing from the network, and what a model wrote stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatwright import runs
from chatwright.insight.report import render
from chatwright.runs import Run
from helpers.pages import Balanced

ATTACK = "</pre><script>alert('猫')</script><img src=x onerror=alert(1)>&amp;"


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


def test_metrics_that_are_shown_are_the_files(trained: Run) -> None:
    rows = [json.loads(line) for line in (trained.directory / "metrics.jsonl").read_text().splitlines()]
    assert rows == trained.metrics()
