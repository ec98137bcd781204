"""`show`: what a run is, how it went, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.corpora.accounts import REPORT
from chatwright.errors import UserError
from chatwright.insight.alignment import terminal_lines
from chatwright.insight.charts import spark
from chatwright.insight.corpus_page import write_corpus_page
from chatwright.insight.outcomes import without_replies
from chatwright.insight.panels import find_kl_target
from chatwright.insight.report import write_report
from chatwright.insight.series import series
from chatwright.recipes.verb import NoOptions, Place, verb
from chatwright.runs import Run


@verb(NoOptions)
def show(run: Place, options: NoOptions) -> dict[str, Any]:
    """Print a run's verb, plan, result, curves and lineage; of a training run or a corpus, write its report.html anew."""
    found = Run(run.directory if isinstance(run, Run) else Path(run))
    if not found.exists:
        raise UserError(f"there is no run at {found.directory} (no run.json in it)")
    info, rows = found.info, found.metrics()
    print(f"{found.directory}: {info['verb']} {info['id']}, {info['status']}")
    for title in ("options", "plan", "result"):
        if info[title]:
            print(f"\n{title}\n{dumps(without_replies(info[title])).strip()}")
    for line in _curves(rows):
        print(line)
    measures = terminal_lines(rows, find_kl_target(info["plan"], info["options"]))
    for line in ["\nalignment", *measures] if measures else []:
        print(line)
    print("\nlineage")
    for line in lineage(found):
        print(line)
    is_corpus = found.verb == "corpus" and (found.directory / REPORT).exists()
    if rows or is_corpus:
        write_corpus_page(found.directory) if is_corpus else write_report(found)
        print(f"\nreport: {found.directory / 'report.html'}")
    return {"run": str(found.directory), **info}


def _curves(rows: list[dict[str, Any]]) -> Iterator[str]:
    for term in dict.fromkeys(term for row in rows for term in row.get("loss") or {}):
        values = [value for _, value in series(rows, "loss", term)]
        if not values:
            continue
        yield f"\ntraining loss ({term}): {values[0]:.3f} → {values[-1]:.3f}\n{spark(values)}"
    bits = [value for _, value in series(rows, "evaluation", "bits_per_byte")]
    if bits:
        yield f"\nvalidation bits per byte: {bits[0]:.3f} → {bits[-1]:.3f}\n{spark(bits)}"


def lineage(run: Run, depth: int = 0, told: set[Path] | None = None, note: str = "") -> Iterator[str]:
    """The run and, indented below it, the runs it was made from; of `align` also the policies that were not kept.

    What stands in `told`, or above, is named again without what lies below it. `note` ends the first line.
    """
    told = set() if told is None else told
    info, place = run.info, run.directory.resolve()
    first = f"{'  ' * depth}{info['verb']} {info['id']}  {run.directory}{note}"
    if place in told:
        yield f"{first} (told above)"
        return
    told.add(place)
    yield first
    indent = "  " * (depth + 1)
    for entry in info["inputs"]:
        yield f"{indent}file {entry['path']}"
    for role, entry in info["parents"].items():
        parent = run.parent(role)
        if parent:
            yield from lineage(parent, depth + 1, told)
        else:
            yield f"{indent}{entry['verb']} {entry['id']}  {entry['path']} (no longer there)"
    for number, policy in _rejected(run):
        yield from lineage(policy, depth + 1, told, f" (round {number}, not kept)")


def _rejected(run: Run) -> Iterator[tuple[int, Run]]:
    """The policies that `align` did not keep and that are still there, each with the number of its round."""
    for found in run.result["rounds"] if run.verb == "align" and run.finished else []:
        policy = Run(run.directory / found["runs"]["policy"])
        if not found["kept"] and policy.exists:
            yield found["round"], policy
