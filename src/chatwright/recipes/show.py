"""`show`: what a run is, how it went, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.insight.charts import spark
from chatwright.insight.report import write_report
from chatwright.recipes.verb import NoOptions, Place, verb
from chatwright.runs import Run


@verb(NoOptions)
def show(run: Place, options: NoOptions) -> dict[str, Any]:
    """Print a run's verb, plan, result, curves and lineage; of a training run, write its report.html anew."""
    found = Run(run.directory if isinstance(run, Run) else Path(run))
    if not found.exists:
        raise UserError(f"there is no run at {found.directory} (no run.json in it)")
    info, rows = found.info, found.metrics()
    print(f"{found.directory}: {info['verb']} {info['id']}, {info['status']}")
    for title in ("options", "plan", "result"):
        if info[title]:
            print(f"\n{title}\n{dumps(info[title]).strip()}")
    for line in _curves(rows):
        print(line)
    print("\nlineage")
    for line in lineage(found):
        print(line)
    if rows:
        write_report(found)
        print(f"\nreport: {found.directory / 'report.html'}")
    return {"run": str(found.directory), **info}


def _curves(rows: list[dict[str, Any]]) -> Iterator[str]:
    steps = [row for row in rows if "loss" in row]
    for term in steps[0]["loss"] if steps else []:
        values = [row["loss"][term] for row in steps]
        yield f"\ntraining loss ({term}): {values[0]:.3f} → {values[-1]:.3f}\n{spark(values)}"
    bits = [
        row["evaluation"]["bits_per_byte"] for row in rows if "bits_per_byte" in row.get("evaluation", {})
    ]
    if bits:
        yield f"\nvalidation bits per byte: {bits[0]:.3f} → {bits[-1]:.3f}\n{spark(bits)}"


def lineage(run: Run, depth: int = 0) -> Iterator[str]:
    """The run and, indented below it, the runs it was made from."""
    info = run.info
    yield f"{'  ' * depth}{info['verb']} {info['id']}  {run.directory}"
    for entry in info["inputs"]:
        yield f"{'  ' * (depth + 1)}file {entry['path']}"
    for role, entry in info["parents"].items():
        parent = run.parent(role)
        if parent:
            yield from lineage(parent, depth + 1)
        else:
            yield f"{'  ' * (depth + 1)}{entry['verb']} {entry['id']}  {entry['path']} (no longer there)"
