"""`questions`: chats that ask what documented names do, made from the documentation of installed packages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.config import as_dict
from chatwright.corpora.reading.python_docs import entries
from chatwright.data import questions as maker
from chatwright.data.questions import Question
from chatwright.data.unknown_names import Unknown
from chatwright.errors import UserError
from chatwright.files import aside_of, writing
from chatwright.progress import bar, say
from chatwright.recipes.text.asking import (
    MOST_ECHOED,
    QuestionOptions,
    echoing,
    made_unknown,
    one_round,
    sprinkled,
)
from chatwright.recipes.verb import verb
from chatwright.runs import Run

TRAIN, HELD_OUT, VALIDATION = "train.jsonl", "held_out.jsonl", "validation.jsonl"
PROMPTS, UNKNOWN_VALIDATION, UNKNOWN_TEST = "prompts.jsonl", "unknown_validation.jsonl", "unknown_test.jsonl"
_VALIDATION_ROWS = 1000


@verb(QuestionOptions)
def questions(source: str, out: str | Path, options: QuestionOptions) -> Run:
    """Ask, in English and Chinese, what every documented name of a package does: `python:stdlib`, `python:numpy`.

    Writes train.jsonl, in rounds that ask every question once; held_out.jsonl, every question in phrasings that the
    first file never uses; and validation.jsonl, a thousand rows of the second. The answer is the first sentence of the
    documentation. The file's order is a curriculum: `sft … shuffle=no` keeps it.

    With unknown= also prompts.jsonl, to align on, and unknown_validation.jsonl and unknown_test.jsonl, held-out questions
    about trained names, made-up names, and names of modules that all other files leave out (the run's result lists
    them as kept_out; `corpus … without=` leaves out their documentation).
    """
    package = source.removeprefix("python:")
    if package == source:
        raise UserError(f"{source!r} is not a documentation source; write python:stdlib or python:PACKAGE")
    identity = {**as_dict(options), "source": source, "version": _version(package)}
    with runs.start("questions", out, identity) as run:
        if run.finished:
            return Run(run.directory)
        asked: Sequence[Question] = maker.questions(entries(package))
        if not asked:
            raise UserError(f"{source} has no documented public names to ask about")
        made = made_unknown(package, asked, options) if options.unknown else None
        asked = made.division.rest if made else asked
        with bar("asking", options.rounds) as shown:

            def rounds() -> Iterator[Mapping[str, Any]]:
                echo = echoing(package, asked, made, options)
                yield from echo(options.echoes, MOST_ECHOED)
                for number in range(options.rounds):
                    yield from sprinkled(one_round(asked, made, options, number), echo, options)
                    shown.update(number + 1)

            chats = _write(run.directory / TRAIN, rounds())
        held = [{**row.chat, "language": row.language} for row in maker.held_out(asked)]
        measured = _write(run.directory / HELD_OUT, held)
        few = min(_VALIDATION_ROWS, measured)
        _write(run.directory / VALIDATION, (held[measured * row // few] for row in range(few)))
        say(f"  {len(asked):,} questions, {chats:,} chats to learn from, {measured:,} in phrasings held out")
        files, result = _write_unknown(run.directory, made) if made else ([], {})
        counts = {"questions": len(asked), "chats": chats, "held_out": measured}
        return run.finish([TRAIN, HELD_OUT, VALIDATION, *files], **counts, **result)


def _write_unknown(directory: Path, made: Unknown) -> tuple[list[str], dict[str, Any]]:
    """Write the rows; their files, and what the run's result says of them."""
    rows = {PROMPTS: made.prompts, UNKNOWN_VALIDATION: made.validation, UNKNOWN_TEST: made.test}
    counts = {name.removesuffix(".jsonl"): _write(directory / name, rows[name]) for name in rows}
    kept, modules = len(made.division.kept), list(made.division.modules)
    shown = ", ".join([*modules[:5], *(["…"] if len(modules) > 5 else [])])
    say(
        f"  {counts['prompts']:,} prompts to align on; {kept} names of {len(modules)} modules kept out: {shown}"
    )
    return list(rows), {"kept_out": modules, **counts}


def _version(package: str) -> str:
    if package == "stdlib":
        return sys.version.split()[0]
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    aside, written = aside_of(path), 0
    with writing(path), aside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    aside.replace(path)
    return written
