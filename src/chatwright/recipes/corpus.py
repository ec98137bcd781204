"""`corpus`: from files, folders and named sources to clean text, split and counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.config import as_dict
from chatwright.corpora.build import CorpusOptions, CorpusReport, build_corpus
from chatwright.corpora.store import shards
from chatwright.files import publishing
from chatwright.progress import bar, say
from chatwright.recipes.verb import verb
from chatwright.runs import Run

TEXT = "text"


@verb(CorpusOptions)
def corpus(inputs: str | Path | Sequence[str | Path], out: str | Path, options: CorpusOptions) -> Run:
    """Make a corpus of files, folders, globs and named sources (`python:stdlib`): read, repair, deduplicate, split.

    txt, Markdown, JSON Lines (also gz, zst) and Parquet. What is dropped or skipped is counted by reason and shown.
    """
    paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    with runs.start("corpus", out, _identity(options, paths), inputs=paths) as run:
        if run.finished:
            return Run(run.directory)
        with publishing(run.directory / TEXT) as aside, bar("reading") as shown:

            def progress(done: int, total: int) -> None:
                shown.total = total or None
                shown.update(done, f"{done / 1e6:,.0f} MB")

            report = build_corpus(paths, aside, options, progress)
        _tell(report)
        text = run.directory / TEXT
        content = [*shards(text, "train"), *shards(text, "validation")]
        return run.finish([path.relative_to(run.directory) for path in content], **as_dict(_plain(report)))


def _identity(options: CorpusOptions, paths: Sequence[str | Path]) -> dict[str, Any]:
    """The options; a named source also depends on the interpreter whose text it reads."""
    named = [str(path) for path in paths if not Path(path).exists()]
    return {
        **as_dict(options),
        **({"named_sources": named, "python": sys.version.split()[0]} if named else {}),
    }


def _plain(report: CorpusReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in report.__dataclass_fields__}


def _tell(report: CorpusReport) -> None:
    kept, read = report.kept, report.read
    say(
        f"  read {read.documents:,} documents, {read.bytes / 1e6:,.1f} MB; kept {kept.documents:,}, {kept.bytes / 1e6:,.1f} MB"
    )
    say(f"  training {report.train.documents:,} documents, validation {report.validation.documents:,}")
    for title, tally in (
        ("dropped", report.dropped),
        ("changed", report.changed),
        ("skipped", report.skipped),
    ):
        for reason, counted in tally.items():
            say(f"  {title} {counted.count:,}: {reason} (first: {counted.first})")
