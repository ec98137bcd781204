"""What alignment changed on names that nobody taught: measured before and after, and told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.data.records import Message
from chatwright.data.unknown_names import PromptRow
from chatwright.evaluation.answers import Share
from chatwright.evaluation.knowing import ALL, Knowing, tally
from chatwright.files import atomic_write
from chatwright.generation.text import TextModel, replies
from chatwright.insight.charts import spark
from chatwright.recipes.first_run.voting import prepare_votes
from chatwright.recipes.text.questions import UNKNOWN_TEST
from chatwright.runs import Run

_SHOWN_EACH = 2


def measure_knowing(talk: Run, best: Run, asked: Run, place: Path) -> dict[str, Any]:
    """Verdicts on test names that nothing was trained on or chosen by, before and after; with replies side by side, and
    how many of these are ready to be voted on.

    The measurement is kept in the journey's folder for both models' content hashes.
    """
    kept, content = place / "knowing.json", [talk.info["content"], best.info["content"]]
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8"))).get("models") == content:
        return dict(found["result"])
    rows = prompt_rows(asked.directory / UNKNOWN_TEST)
    answered = [_greedy(run, rows) for run in (talk, best)]
    before, after = (tally(rows, texts) for texts in answered)
    result = {
        "before": _plain(before),
        "after": _plain(after),
        "side_by_side": _side_by_side(rows, *answered),
        "curve": _curve(best),
        "to_vote_on": prepare_votes(talk, best, rows, answered),
    }
    atomic_write(kept, dumps({"models": content, "result": result}))
    return result


def _greedy(run: Run, rows: list[PromptRow]) -> list[str]:
    longest = max(len(row["answer"].encode()) for row in rows)
    return replies(
        TextModel.load(run),
        [[Message("user", row["prompt"])] for row in rows],
        temperature=0.0,
        max_new_tokens=longest + 1,
    )


def _plain(found: Knowing) -> dict[str, Any]:
    def shown(share: Share) -> dict[str, Any]:
        low, high = share.interval
        return {
            "share": round(share.value, 4),
            "interval": [round(low, 4), round(high, 4)],
            "of": share.total,
        }

    return {
        kind: {
            language: {verdict: shown(share) for verdict, share in shares.items()}
            for language, shares in by_language.items()
        }
        for kind, by_language in found.items()
    }


def _side_by_side(rows: list[PromptRow], before: list[str], after: list[str]) -> list[dict[str, str]]:
    chosen: list[int] = []
    for kind in ("made-up", "kept-out", "real"):
        places = [place for place, row in enumerate(rows) if row["kind"] == kind]
        chosen += [places[len(places) * number // _SHOWN_EACH] for number in range(_SHOWN_EACH) if places]
    return [
        {"kind": rows[p]["kind"], "prompt": rows[p]["prompt"], "before": before[p], "after": after[p]}
        for p in chosen
    ]


def _curve(best: Run) -> dict[str, list[list[float]]]:
    """Gold over PPO's steps for each kind of validation name, [[step, share], …]."""
    rows = [row for row in best.metrics() if "evaluation" in row]
    kinds = ("real", "made-up", "kept-out")
    return {
        kind: [[row["step"], row["evaluation"][f"gold: {kind}"]] for row in rows]
        for kind in kinds
        if rows and f"gold: {kind}" in rows[0]["evaluation"]
    }


def knowing_lines(result: Mapping[str, Any], judged_by: Run, best: Run) -> Iterable[str]:
    """The part of the short report that tells what alignment changed."""
    before, after = result["before"], result["after"]
    found = judged_by.result["after"]
    yield f"  reward model         prefers the better reply in {found['accuracy']:.1%} of held-out comparisons"
    names = {"made-up": "made-up names", "kept-out": "names kept out"}
    for kind, title in names.items():
        if kind in before:
            shares = [_admitted(side[kind][ALL]) for side in (before, after)]
            yield f"  {title:<20} admitted as unknown: {shares[0]} before, {shares[1]} after PPO"
    real = [side["real"][ALL] for side in (before, after)]
    yield f"  real names           right: {_told(real[0]['right'])} before, {_told(real[1]['right'])} after"
    yield f"                       wrongly refused: {_told(real[0]['refused'])} before, {_told(real[1]['refused'])} after"
    for kind, points in result["curve"].items():
        values = [share for _, share in points]
        yield f"  over PPO's steps     {kind:<8} {spark(values)} {values[0]:.0%} → {values[-1]:.0%}"
    yield f"                       step {best.result['best_step']} was kept: the best on validation names"
    for row in result["side_by_side"]:
        yield f"    {row['kind']}: {row['prompt']}\n      before: {row['before']}\n      after:  {row['after']}"


def _admitted(shares: Mapping[str, Mapping[str, Any]]) -> str:
    """Admissions of any wording, and how many of them give the name to the letter."""
    exact, garbled = shares["admitted"]["share"], shares["garbled"]["share"]
    return f"{exact + garbled:.1%} (with the right name {exact:.1%})"


def _told(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['share']:.1%} ({low:.1%} to {high:.1%})"


def prompt_rows(path: Path) -> list[PromptRow]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
