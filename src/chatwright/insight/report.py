"""The report of a training run: curves, samples, plan and lineage on one page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from chatwright.files import atomic_write
from chatwright.insight.alignment import sections
from chatwright.insight.charts import CHART_STYLE, Curve, Mark, line_chart
from chatwright.insight.outcomes import OUTCOME_STYLE, without_replies
from chatwright.insight.panels import find_kl_target, loss_reading
from chatwright.insight.series import Rows, number, series
from chatwright.runs import Run

_STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td {{ padding: .1rem 1rem .1rem 0; vertical-align: top }}
pre, td + td {{ white-space: pre-wrap; overflow-wrap: anywhere }} h2 {{ margin-top: 2rem }}
{CHART_STYLE}{OUTCOME_STYLE}"""

_ACCURACY = "_accuracy"


def write_report(run: Run) -> None:
    """Write `report.html` into a run."""
    atomic_write(run.directory / "report.html", render(run))


def render(run: Run) -> str:
    """The page. What a model wrote is shown as text, never as HTML."""
    info, rows = run.info, run.metrics()
    title = f"{info['verb']} · {run.directory.resolve().name}"
    aligned = sections(rows, info["result"], find_kl_target(info["plan"], info["options"]))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(info['status'])}, run {escape(info['id'])}</p>",
        *aligned,
        *(_loss_by_term(rows) if aligned else curves(rows)),
        _samples(rows),
        _table("Result", without_replies(info["result"])),
        _table("Plan", info["plan"]),
        _table("Options", info["options"]),
        _table("Made from", {role: f"{p['verb']} {p['path']}" for role, p in info["parents"].items()}),
        _table("Versions", info["versions"]),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def curves(rows: Rows) -> list[str]:
    """Loss on training and held-out text; bits a byte; gradient norm."""
    losses = [Curve(f"training: {_words(t)}", series(rows, "loss", t)) for t in _terms(rows)]
    held_out = series(rows, "evaluation", "loss")
    losses += [Curve("validation", held_out)] if held_out else []
    if len(_terms(rows)) > 1:
        each = [(term, series(rows, "evaluation", term)) for term in _terms(rows)]
        losses += [Curve(f"validation: {_words(term)}", found, dashed=True) for term, found in each if found]
    charts = [
        line_chart(
            "Loss: lower is better; validation rising while training falls means overfitting",
            losses,
            "step",
            "nats",
        ),
        line_chart(
            "Bits a byte of held-out text: lower is better",
            [Curve("validation", series(rows, "evaluation", "bits_per_byte"))],
            "step",
            "bits",
        ),
        accuracies(rows),
        _gradient_norm(rows),
    ]
    return [chart for chart in charts if chart]


def accuracies(rows: Rows) -> str:
    """A chart of every term's accuracy, in training where it was watched and on held-out text, and what it would be by
    chance; "" where there is none."""
    names = [
        (group, name)
        for group in ("metrics", "evaluation")
        for name in dict.fromkeys(name for row in rows for name in row.get(group) or {})
        if name.endswith(_ACCURACY)
    ]
    where = {"metrics": "training", "evaluation": "held out"}
    curves = [
        Curve(
            f"{where[group]}: {_words(name.removesuffix(_ACCURACY))}",
            series(rows, group, name),
            dashed=group == "evaluation",
        )
        for group, name in names
    ]
    chances = [
        (name, values[-1][1])
        for name in dict.fromkeys(name.removesuffix(_ACCURACY) for _, name in names)
        if (values := series(rows, "evaluation", f"{name}_chance"))
    ]
    levels = [Mark(chance, f"{_words(name)} by chance") for name, chance in chances]
    return line_chart("Accuracy: how often a term is told right", curves, "step", "share", levels=levels)


def _loss_by_term(rows: Rows) -> list[str]:
    """A chart for each term of the loss, because a policy's and a value's differ by orders of magnitude."""
    terms, held_out = _terms(rows), series(rows, "evaluation", "loss")
    charts = []
    for term in terms:
        drawn = [Curve("training", series(rows, "loss", term))]
        drawn += [Curve("held out", held_out, dashed=True)] if held_out and len(terms) == 1 else []
        charts.append(line_chart(f"Loss: {_words(term)}", drawn, "step", ""))
    reading = f'<p class="reading">{escape(loss_reading(rows))}</p>' if any(charts) else ""
    shown = [*charts, reading, _gradient_norm(rows)]
    return ["<h2>Loss and gradient</h2>", *shown] if any(shown) else []


def _gradient_norm(rows: Rows) -> str:
    norms = [
        (row["step"], row["gradient_norm"]) for row in rows if number(row.get("gradient_norm")) is not None
    ]
    title = "Gradient norm before clipping: spikes mean the learning rate is too high"
    return line_chart(title, [Curve("norm", norms)], "step", "")


def _terms(rows: Rows) -> list[str]:
    return list(dict.fromkeys(term for row in rows for term in row.get("loss") or {}))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _samples(rows: Rows) -> str:
    shown = [
        f"<h3>step {row['step']}</h3>" + "".join(f"<pre>{escape(text)}</pre>" for text in texts)
        for row in rows
        if (texts := (row.get("evaluation") or {}).get("samples"))
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
