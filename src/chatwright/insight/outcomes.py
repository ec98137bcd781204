"""What came of an alignment run: gold against the judge against KL, the win rate, calibration, replies before and after.

What a model or a user wrote is shown as text, never as HTML.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from typing import Any

from chatwright.insight.charts import Bin, Curve, Mark, interval_chart, line_chart, reliability_chart
from chatwright.insight.failures import gold_and_reward, interval
from chatwright.insight.series import (
    ENOUGH,
    Rows,
    Series,
    end,
    fall_from_best,
    number,
    rise,
    series,
    start,
    value_at,
)

_SHOWN_STEPS, _SHOWN_SAMPLES, _SHOWN_PAIRS = 5, 6, 20
_LONGEST_SAMPLE = 600

OUTCOME_STYLE = """
.reading { margin: .2rem 0 .6rem; font-size: .92rem }
.warning { margin: .4rem 0; padding: .4rem .8rem; border-left: 4px solid #d97706; background: rgb(217 119 6 / .14) }
.replies { width: 100%; table-layout: fixed } .replies tr > * { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; padding: .3rem .6rem .3rem 0; vertical-align: top }
.replies .prompt > * { border-top: 1px solid rgb(128 128 128 / .5); font-weight: 600 }
.score { display: block; font-size: .85rem; opacity: .75; margin-top: .2rem }
"""


def gold_against_kl(rows: Rows) -> str:
    """The judge's reward and gold over √KL, with the turn-over in words; "" without gold.

    √KL is the distance of Gao et al. (2023): along it both curves start as straight lines.
    """
    measured = [_by_distance(rows, group) for group in ("evaluation", "rollout")]
    reward, gold, far = next((found for found in measured if len(found[1]) >= ENOUGH), measured[1])
    if len(gold) < 2:
        return ""
    turn, words = _turn_over(rows, far)
    figure = line_chart(
        "Gold against the judge's reward against KL",
        [Curve("judge", reward)],
        "√KL (distance from the reference)",
        "judge",
        [Curve("gold", gold)],
        "gold",
        marks=[Mark(turn, "gold is best here")] if turn is not None else [],
        scattered=True,
    )
    reading = (
        "How to read it: to the right is further from the reference. Each curve has its own scale, so compare their "
        "shapes: as long as both rise the judge can be trusted; where gold turns down and the judge goes on, it is "
        "being exploited."
    )
    return f'{figure}<p class="reading">{reading}</p><p>{escape(words)}</p>'


def _by_distance(rows: Rows, group: str) -> tuple[Series, Series, dict[float, float]]:
    """(√KL, reward), (√KL, gold) and step → √KL of the rows that have all three."""
    kl, reward = dict(series(rows, group, "kl")), dict(series(rows, group, "reward"))
    gold = dict(series(rows, group, "gold"))
    far = {step: math.sqrt(max(0.0, kl[step])) for step in kl if step in reward and step in gold}
    return [(d, reward[s]) for s, d in far.items()], [(d, gold[s]) for s, d in far.items()], far


def _turn_over(rows: Rows, far: Mapping[float, float]) -> tuple[float | None, str]:
    """The √KL where gold was best, if it fell after that, and what happened in words."""
    gold, reward = gold_and_reward(rows)
    if not gold:
        return None, "Too few steps were measured to say whether gold turns over."
    best = fall_from_best(gold)
    if best is None:
        if rise(gold) > 0:
            return None, (
                f"Gold rises to the end, from {start(gold):.3g} to {end(gold):.3g}: within the KL that was reached there "
                "is no turn-over."
            )
        return (
            None,
            f"Gold stays about where it was ({start(gold):.3g} at the start, {end(gold):.3g} at the end).",
        )
    step, value = best
    distance = far[min(far, key=lambda s: abs(s - step))]
    words = f"Gold is best at step {int(step)}, √KL = {distance:.2f}, with {value:.3g}, and falls to {end(gold):.3g}. "
    if reward:
        words += f"Over the same steps the judge's reward goes from {value_at(reward, step):.3g} to {end(reward):.3g}."
    return distance, words


def win_rate(rows: Rows, result: Mapping[str, Any]) -> str:
    """How often the policy beats its start, with the interval: a bar with whiskers, and in words."""
    holders = [result, *(row["evaluation"] for row in reversed(rows) if row.get("evaluation"))]
    found = next((h for h in holders if number(h.get("win_rate")) is not None), None)
    if found is None:
        return ""
    share, bounds = float(found["win_rate"]), interval(found.get("win_interval"))
    return interval_chart("Win rate against the start", share, bounds, 0.5) + (
        f'<p class="reading">{escape(win_words(share, bounds))}</p>'
    )


def win_words(share: float, bounds: tuple[float, float] | None) -> str:
    """What a win rate says."""
    if bounds is None:
        return f"It wins {share:.0%} of the comparisons with the model it started from; without an interval, that may be chance."
    low, high = bounds
    if low > 0.5:
        verdict = "it is better, because all of the interval lies above one half."
    elif high < 0.5:
        verdict = "it is worse, because all of the interval lies below one half."
    else:
        verdict = (
            "no difference is shown, because the interval holds one half; more comparisons would narrow it."
        )
    return (
        f"It wins {share:.1%} of the comparisons with the model it started from (95% interval {low:.1%} to {high:.1%}): "
        f"{verdict}"
    )


def calibration(rows: Rows) -> str:
    """The reliability diagram of the last evaluation that has one."""
    for row in reversed(rows):
        found = row.get("evaluation") or {}
        if found.get("calibration"):
            numbers = [
                [number(b.get(k)) for k in ("predicted", "observed", "count")] for b in found["calibration"]
            ]
            bins = [Bin(p, o, n) for p, o, n in numbers if p is not None and o is not None and n is not None]
            off = number(found.get("calibration_error"))
            reading = (
                "How to read it: of pairs where the judge gives the chosen reply a chance of 80%, 80% should be right. "
                "Discs below the diagonal mean that it is too sure of itself, above it too timid. Large discs are many pairs."
            )
            said = f" In the mean it is off by {off:.1%}." if off is not None else ""
            figure = reliability_chart("Calibration on held-out pairs", bins)
            return f'{figure}<p class="reading">{reading}{said}</p>' if figure else ""
    return ""


def before_after(rows: Rows) -> str:
    """The replies of the start and of the policy side by side, each with its reward under it."""
    for row in reversed(rows):
        pairs = (row.get("evaluation") or {}).get("before_after")
        if pairs:
            lines = "".join(
                f'<tr class="prompt"><td colspan="2">{_text(pair.get("prompt"))}</td></tr><tr>'
                f"<td>{_text(pair.get('before'))}{_scores(reward=pair.get('reward_before'))}</td>"
                f"<td>{_text(pair.get('after'))}{_scores(reward=pair.get('reward_after'))}</td></tr>"
                for pair in pairs[:_SHOWN_PAIRS]
            )
            head = "<tr><th>before</th><th>after</th></tr>"
            return f'<h2>Before and after</h2><table class="replies">{head}{lines}</table>'
    return ""


def samples_over_time(rows: Rows) -> str:
    """Replies with their scores at a few steps, the first and the last among them."""
    sampled = [row for row in rows if row.get("samples")]
    count = min(_SHOWN_STEPS, len(sampled))
    if not count:
        return ""
    shown = sorted({round(i * (len(sampled) - 1) / max(1, count - 1)) for i in range(count)})
    parts = []
    for index in shown:
        row = sampled[index]
        lines = "".join(
            f'<tr class="prompt"><td>{_text(sample.get("prompt"))}</td></tr><tr><td>{_text(sample.get("reply"))}'
            f"{_scores(reward=sample.get('reward'), gold=sample.get('gold'))}</td></tr>"
            for sample in row["samples"][:_SHOWN_SAMPLES]
        )
        opened = " open" if index == shown[-1] else ""
        parts.append(
            f'<details{opened}><summary>step {row["step"]}</summary><table class="replies">{lines}</table></details>'
        )
    return f"<h2>Replies as training went on</h2>{''.join(parts)}"


def _text(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return escape(shown if len(shown) <= _LONGEST_SAMPLE else f"{shown[:_LONGEST_SAMPLE]} …")


def _scores(**scores: object) -> str:
    numbers = {name: number(value) for name, value in scores.items()}
    known = [f"{name} {value:.3g}" for name, value in numbers.items() if value is not None]
    return f'<span class="score">{", ".join(known)}</span>' if known else ""


def without_replies(value: Any) -> Any:
    """A result without the lists that have a place of their own in the report."""
    if isinstance(value, Mapping):
        return {
            k: without_replies(v)
            for k, v in value.items()
            if k not in {"samples", "before_after", "calibration"}
        }
    return value
