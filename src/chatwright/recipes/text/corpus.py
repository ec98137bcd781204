"""`corpus`: from files, folders and named sources to clean text, split and counted."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Any

from chatwright import registry, runs
from chatwright.config import as_dict, describe, dumps, option
from chatwright.corpora.accounts import REPORT, CorpusReport
from chatwright.corpora.build import build_corpus
from chatwright.corpora.choices import CommonOptions, CorpusOptions
from chatwright.corpora.engine.plan import option_files
from chatwright.corpora.engine.running import InputError
from chatwright.corpora.operators.contract import step_class, step_options
from chatwright.corpora.store import shards
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.insight.corpus_page import write_corpus_page
from chatwright.progress import Bar, say
from chatwright.recipes.verb import verb
from chatwright.runs import OpenRun, Run

TEXT = "text"
STAGES = "stages"


@dataclass(frozen=True)
class CorpusVerbOptions(CommonOptions):
    """What the corpus is made with, and who does the work: that changes nothing in the corpus."""

    engine: str = option("auto", "who does the work: inline, daft, or ray (auto: daft for much input)")
    workers: int = option(0, "how many work at once (0: one a core)")
    reuse: str | None = option(None, "another corpus run, whose stages are taken over where they fit")
    keep_stages: bool = option(True, "whether the stages' files stay, for reuse= later")


def _group(name: str) -> tuple[str, Any, Any]:
    """The field for the options of one step, `quality.min_words=30`; the step itself checks them."""
    try:
        keys = [f"{key}={default}" for key, default, _ in describe(step_class(name).Options)]
    except (ImportError, AttributeError, UserError):
        keys = ["a step that cannot be loaded"]
    return name, dict[str, Any], option({}, f"options of the step {name}: {' '.join(keys) or 'none'}")


_STEPS = [_group(name) for name in registry.table("corpus_operator")]
Options: Any = make_dataclass("Options", _STEPS, bases=(CorpusVerbOptions,), frozen=True)


@verb(Options)
def corpus(inputs: str | Path | Sequence[str | Path], out: str | Path, options: CorpusVerbOptions) -> Run:
    """Make a corpus of files, folders, globs and named sources (`python:stdlib`, `hf:`): read, clean, filter,
    deduplicate, split.

    What is dropped, changed or skipped is counted by reason and shown; corpus_report.json has samples of each. A step
    that is off by default runs when one of its options is given. The same command goes on where it was killed.
    """
    paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    chosen = build_options(options)
    reuse = Run(Path(options.reuse)) if options.reuse else None
    if reuse and (not reuse.exists or reuse.verb != "corpus"):
        raise UserError(f"reuse={options.reuse} is not a run of corpus")
    mend = f"give a new -o, with reuse={out} to take over what does not change"
    with runs.start("corpus", out, _identity(chosen, paths), inputs=paths, mend=mend) as run:
        if run.finished:
            return Run(run.directory)
        with _watched(run) as progress:
            report = build_corpus(
                paths,
                run.directory / TEXT,
                chosen,
                run.directory / STAGES,
                options.engine,
                options.workers,
                progress,
                [run.info["inputs"], _named(paths)],
                reuse.directory / STAGES if reuse else None,
            )
        return _finished(run, report, options.keep_stages)


def build_options(options: CorpusVerbOptions) -> CorpusOptions:
    """The options of the build: the groups of the steps become one."""
    common = {field.name: getattr(options, field.name) for field in fields(CommonOptions)}
    groups = {name: getattr(options, name) for name, _, _ in _STEPS}
    return CorpusOptions(**common, step_options={name: group for name, group in groups.items() if group})


def _identity(options: CorpusOptions, paths: Sequence[str | Path]) -> dict[str, Any]:
    """The options, the content of the files that they name, and for named sources the interpreter they read."""
    found = {name: option_files(step_options(name, group)) for name, group in options.step_options.items()}
    files = {name: content for name, content in found.items() if content}
    return {**as_dict(options), **({"files": files} if files else {}), **_named(paths)}


def _named(paths: Sequence[str | Path]) -> dict[str, Any]:
    named = [str(path) for path in paths if not Path(path).exists()]
    return {"named_sources": named, "python": sys.version.split()[0]} if named else {}


@contextmanager
def _watched(run: OpenRun) -> Iterator[Callable[[str, float], None]]:
    """A bar for each stage. A run that has begun to read can go on after an error, unless its inputs are refused."""
    bars: dict[str, Bar] = {}

    def progress(title: str, share: float) -> None:
        if title not in bars:
            run.resolve({"stages": STAGES})
            _close(bars)
            bars[title] = Bar(title, 1.0)
        bars[title].update(share, f"{share:.0%}")

    try:
        yield progress
    except InputError:
        run.update(plan={})
        raise
    finally:
        _close(bars)


def _close(bars: dict[str, Bar]) -> None:
    while bars:
        bars.popitem()[1].close()


def _finished(run: OpenRun, report: CorpusReport, keep_stages: bool) -> Run:
    """Write the report, tell of it, mark the run as finished."""
    atomic_write(run.directory / REPORT, dumps(report.full()))
    _tell(report)
    say(f"  report: {write_corpus_page(run.directory)}")
    if not keep_stages:
        shutil.rmtree(run.directory / STAGES, ignore_errors=True)
    text = run.directory / TEXT
    content = [*shards(text, "train"), *shards(text, "validation")]
    return run.finish([path.relative_to(run.directory) for path in content], **report.brief())


def _tell(report: CorpusReport) -> None:
    kept, read = report.kept, report.read
    say(
        f"  read {read.documents:,} documents, {read.bytes / 1e6:,.1f} MB; kept {kept.documents:,}, {kept.bytes / 1e6:,.1f} MB"
    )
    say(f"  training {report.train.documents:,} documents, validation {report.validation.documents:,}")
    for title in ("dropped", "changed", "marked"):
        for step in report.steps:
            for reason, found in step[title].items():
                say(f"  {title} {found.documents:,} by {step['name']}: {reason} (first: {found.first})")
        if title == "dropped":
            _tell_clusters(report)
    for reason, counted in report.skipped.items():
        say(f"  skipped {counted['count']:,}: {reason} (first: {counted['first']})")
    for warning in report.warnings:
        say(f"  note: {warning}")


def _tell_clusters(report: CorpusReport) -> None:
    for step in report.steps:
        found = step.get("clusters")
        if found:
            hold = "cluster holds" if found["count"] == 1 else "clusters hold"
            said = f"  {step['name']}: {found['count']:,} {hold} {found['documents']:,} documents ({found['share']:.1%})"
            # a step of a plug-in need not tell which are the largest
            for largest in found["largest"][:1]:
                said += f"; of the largest {largest['documents']:,}, {largest['kept']['id']} stays"
            say(said)
