"""`corpus explain`: what each step of the corpus does to the documents of one file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import make_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from chatwright.config import as_dict, option
from chatwright.corpora.accounts import counted
from chatwright.corpora.choices import chosen_steps
from chatwright.corpora.operators.contract import is_collective, step_class
from chatwright.corpora.reading.discover import discover
from chatwright.corpora.reading.read import read
from chatwright.corpora.reading.skipped import Skipped
from chatwright.corpora.reporting.difference import IN, OUT, Piece, seen, shortened
from chatwright.corpora.reporting.explain import DROPPED, DocumentTrace, StepTrace, explain
from chatwright.errors import UserError
from chatwright.progress import say, visible
from chatwright.recipes.text.corpus import Options as CorpusVerb
from chatwright.recipes.text.corpus import build_options
from chatwright.recipes.verb import verb

_STYLES = {OUT: "red strike", IN: "green"}
_BRACKETS = {OUT: ("[-", "-]"), IN: ("{+", "+}")}
_ENOUGH = 1 << 40
_MOST = 1000

Options: Any = make_dataclass(
    "Options",
    [
        ("documents", int, option(10, "how many documents are shown (--json holds all)")),
        ("around", int, option(60, "characters shown on either side of a change")),
    ],
    bases=(CorpusVerb,),
    frozen=True,
)


@verb(Options)
def corpus_explain(file: str | Path, options: Any) -> dict[str, Any]:
    """Show what each step of `corpus` does to each document of one file: kept, changed (with the difference), dropped or
    marked, with the rule, the measured value and its threshold.

    Takes the options of `corpus`. Steps that compare documents see those of this file only.
    """
    skipped, chosen = Skipped(), build_options(options)
    sources = discover([file], skipped, chosen.mirror)
    found = list(islice(read(sources, skipped, chosen.text_field, limits=chosen.limits), _MOST + 1))
    if not found:
        why = "; ".join(f"{reason} (first: {entry['first']})" for reason, entry in counted(skipped).items())
        raise UserError(f"no text in {file}{f': {why}' if why else ''}; give a file with text in it")
    if len(found) > _MOST:
        found.pop()
        say(f"note: only the first {_MOST:,} documents of {file} are explained")
    # One file is small; `quality` runs all the same, as it does on a whole corpus.
    names, _ = chosen_steps(chosen, _ENOUGH)
    traces = explain(found, names, chosen.step_options)
    _show(traces, names, options)
    for reason, entry in counted(skipped).items():
        say(f"skipped {entry['count']:,}: {reason} (first: {entry['first']})")
    alone = [name for name in names if is_collective(step_class(name))]
    return {
        "file": str(file),
        "steps": names,
        "inside_this_file_only": alone,
        "documents": [_plain(trace) for trace in traces],
        "skipped": counted(skipped),
    }


def _show(traces: Sequence[DocumentTrace], names: Sequence[str], options: Any) -> None:
    console = Console(soft_wrap=True, highlight=False)
    coloured = sys.stdout.isatty()
    for trace in traces[: options.documents]:
        console.print(Text(visible(_title(trace)), style="bold" if coloured else ""))
        for step in trace.steps:
            for line in _lines(step, options.around, coloured):
                console.print(line)
        console.print()
    hidden = len(traces) - options.documents
    if hidden > 0:
        console.print(Text(f"{hidden:,} more documents; documents={len(traces)} shows all"))
    alone = [name for name in names if is_collective(step_class(name))]
    if alone:
        console.print(Text(f"{', '.join(alone)}: inside this file only, not against the rest of a corpus"))


def _title(trace: DocumentTrace) -> str:
    read = f"{trace.read.characters:,} characters"
    end = f"kept, {trace.kept.characters:,}" if trace.kept else f"dropped by {trace.steps[-1].step}"
    return f"{trace.id}  {read} → {end}"


def _lines(step: StepTrace, around: int, coloured: bool) -> Iterator[Text]:
    """A line of what the step did, below it a line for each thing it told, then the difference."""
    extra = [f"language {step.language}"] if step.language else []
    extra += [f"marked {', '.join(step.marks)}"] if step.marks else []
    said = "  ".join([step.outcome, *extra])
    line = Text(f"  {step.step:<14}")
    line.append(said, style="bold red" if coloured and step.outcome == DROPPED else "")
    yield line
    for event in step.events:
        times = f", {event.count:,} times" if event.count > 1 else ""
        detail = f" ({event.detail})" if event.detail else ""
        yield Text(visible(f"  {'':<14}{event.kind}: {event.reason}{detail}{times}"))
    if step.pieces:
        yield _difference(shortened(step.pieces, around), coloured)


def _difference(pieces: Sequence[Piece], coloured: bool) -> Text:
    """The pieces with what went and what came in colours, or in brackets where there are none."""
    text = Text()
    for kind, content in pieces:
        left, right = ("", "") if coloured else _BRACKETS.get(kind, ("", ""))
        indented = visible(f"{left}{seen(content, kind)}{right}").replace("\n", f"\n{'':<16}")
        text.append(indented, style=_STYLES.get(kind, "") if coloured else "")
    return Text(f"{'':<16}").append_text(text)


def _plain(trace: DocumentTrace) -> dict[str, Any]:
    found: dict[str, Any] = as_dict(trace)
    for step in found["steps"]:
        step["difference"] = [list(piece) for piece in step.pop("pieces")]
    return found
