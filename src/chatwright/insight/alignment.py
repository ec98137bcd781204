"""The part of a report that explains an alignment run: what it shows is what its metrics hold, for every method alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from chatwright.insight.charts import spark
from chatwright.insight.failures import Finding, findings, has_pairs, interval
from chatwright.insight.outcomes import (
    before_after,
    calibration,
    gold_against_kl,
    samples_over_time,
    win_rate,
    win_words,
)
from chatwright.insight.panels import PANELS, other_measures, time_spent
from chatwright.insight.series import Rows, number, series

_SPARK = 30
_LINES = (
    ("reward", "rollout", "reward"),
    ("gold", "rollout", "gold"),
    ("held-out reward", "evaluation", "reward"),
    ("held-out gold", "evaluation", "gold"),
    ("KL, nats a reply", "rollout", "kl"),
    ("entropy, nats a token", "rollout", "entropy"),
    ("reply length, tokens", "rollout", "length"),
    ("unfinished replies", "rollout", "unfinished"),
    ("equal groups", "rollout", "equal_groups"),
    ("clip share", "metrics", "clip_share"),
    ("explained variance", "rollout", "explained_variance"),
    ("disagreement", "rollout", "disagreement"),
    ("pair accuracy", "metrics", "accuracy"),
    ("held-out accuracy", "evaluation", "accuracy"),
    ("chosen reward", "metrics", "chosen_reward"),
    ("rejected reward", "metrics", "rejected_reward"),
    ("chosen log-probability", "metrics", "chosen_logprob"),
)


def sections(rows: Rows, result: Mapping[str, Any], kl_target: float | None = None) -> list[str]:
    """The parts of the page, best read first; none for a run that aligned nothing."""
    won, replies = win_rate(rows, result), [before_after(rows), samples_over_time(rows)]
    gold, reliable = gold_against_kl(rows), calibration(rows)
    found = findings(rows, kl_target)
    charts = [
        chart + f'<p class="reading">{escape(panel.reading)}</p>' + _warnings(found, panel.findings)
        for panel in PANELS
        if (chart := panel.chart(rows, kl_target))
    ]
    charts += [reliable + _warnings(found, ("calibration_off",))] if reliable else []
    if not any((won, gold, *charts, *replies)):
        return []
    kept = number(result.get("best_step"))
    page = [
        f"<p>The run kept step {int(kept)}, its best.</p>" if kept is not None else "",
        _summary(found),
        f"<h2>What it gained</h2>{won}{gold}" if won or gold else "",
        replies[0],
        "<h2>How it went</h2>" if charts else "",
        *charts,
        *other_measures(rows),
        f"<p>{time_spent(rows)}</p>",
        replies[1],
    ]
    return [part for part in page if part and part != "<p></p>"]


def terminal_lines(rows: Rows, kl_target: float | None = None) -> list[str]:
    """What a terminal shows: each measure's first and last value with its curve, the win rate, then warnings."""
    lines = []
    for name, group, key in _LINES:
        values = [y for _, y in series(rows, group, key)]
        if not values or (key == "accuracy" and not has_pairs(rows)):
            continue
        between = f"{_shown(values[0])} → {_shown(values[-1])}"
        lines.append(f"{name:<22} {between:<18} {spark(values, _SPARK)}".rstrip())
    if not lines:
        return []
    won = [
        row["evaluation"] for row in rows if number((row.get("evaluation") or {}).get("win_rate")) is not None
    ]
    if won:
        lines.append(win_words(float(won[-1]["win_rate"]), interval(won[-1].get("win_interval"))))
    return lines + [
        f"warning: {finding.sentence} (step {finding.step})" for finding in findings(rows, kl_target)
    ]


def _summary(found: Sequence[Finding]) -> str:
    if not found:
        return "<p>No known failure shows in the curves.</p>"
    return f"<h2>Warnings</h2>{_warnings(found, tuple(finding.kind for finding in found))}"


def _warnings(found: Sequence[Finding], kinds: Sequence[str]) -> str:
    return "".join(
        f'<p class="warning"><strong>Warning</strong> (step {finding.step}): {escape(finding.sentence)}.</p>'
        for finding in found
        if finding.kind in kinds
    )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
