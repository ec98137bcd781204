"""The report of a training run: curves, samples, plan and lineage on one page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from chatwright.files import atomic_write
from chatwright.insight.charts import Curve, line_chart
from chatwright.runs import Run

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; padding: 0 1rem }
figure { margin: 1.5rem 0 } figcaption { font-weight: 600; margin-bottom: .3rem }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: currentColor }
.grid { stroke: currentColor; stroke-opacity: .15 }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
pre, td + td { white-space: pre-wrap; overflow-wrap: anywhere } h2 { margin-top: 2rem }
"""


def write_report(run: Run) -> None:
    """Write `report.html` into a run."""
    atomic_write(run.directory / "report.html", render(run))


def render(run: Run) -> str:
    """The page. What a model wrote is shown as text, never as HTML."""
    info, rows = run.info, run.metrics()
    title = f"{info['verb']} · {run.directory.resolve().name}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(info['status'])}, run {escape(info['id'])}</p>",
        *curves(rows),
        _samples(rows),
        _table("Result", info["result"]),
        _table("Plan", info["plan"]),
        _table("Options", info["options"]),
        _table("Made from", {role: f"{p['verb']} {p['path']}" for role, p in info["parents"].items()}),
        _table("Versions", info["versions"]),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>\n'


def curves(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Loss on training and held-out text; gradient norm; tokens a second."""
    steps = [row for row in rows if "loss" in row]
    evaluations = [row for row in rows if "evaluation" in row]
    terms = list(steps[0]["loss"]) if steps else []
    losses = [
        Curve(f"training: {t.replace('_', ' ')}", [(r["step"], r["loss"][t]) for r in steps]) for t in terms
    ]
    for name, title in (("loss", "validation"),):
        points = [(r["step"], r["evaluation"][name]) for r in evaluations if name in r["evaluation"]]
        losses += [Curve(title, points)] if points else []
    bits = [
        (r["step"], r["evaluation"]["bits_per_byte"])
        for r in evaluations
        if "bits_per_byte" in r["evaluation"]
    ]
    charts = [
        line_chart(
            "Loss: lower is better; validation rising while training falls means overfitting",
            losses,
            "step",
            "nats",
        ),
        line_chart(
            "Bits a byte of held-out text: lower is better", [Curve("validation", bits)], "step", "bits"
        ),
        line_chart(
            "Gradient norm before clipping: spikes mean the learning rate is too high",
            [Curve("norm", [(r["step"], r["gradient_norm"]) for r in steps])],
            "step",
            "",
        ),
    ]
    return [chart for chart in charts if chart]


def _samples(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        f"<h3>step {row['step']}</h3>"
        + "".join(f"<pre>{escape(text)}</pre>" for text in row["evaluation"]["samples"])
        for row in rows
        if row.get("evaluation", {}).get("samples")
    ]
    return "<h2>What it writes</h2>" + "".join(shown) if shown else ""


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    lines = "".join(
        f"<tr><td>{escape(str(key))}</td><td>{escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}</td></tr>"
        for key, value in values.items()
    )
    return f"<h2>{escape(title)}</h2><table>{lines}</table>"
