"""`questions`: chats that ask what documented names do, made from the documentation of installed packages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.config import as_dict, option
from chatwright.corpora.python_docs import entries
from chatwright.data import questions as maker
from chatwright.errors import UserError
from chatwright.files import aside_of, writing
from chatwright.progress import bar, say
from chatwright.recipes.verb import verb
from chatwright.runs import Run

TRAIN, HELD_OUT, VALIDATION = "train.jsonl", "held_out.jsonl", "validation.jsonl"
SHEETS = "sheets.jsonl"
_VALIDATION_ROWS = 1000


@dataclass(frozen=True)
class QuestionOptions:
    """How many chats to make."""

    rounds: int = option(24, "times every question is asked, each time in another phrasing")
    sheets: int = option(4, "times every name and answer stands in sheets.jsonl, a text to pretrain on")
    seed: int = option(0, "draws the order and the phrasing of every round")

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UserError(f"rounds={self.rounds} must be at least 1")
        if self.sheets < 1:
            raise UserError(f"sheets={self.sheets} must be at least 1")


@verb(QuestionOptions)
def questions(source: str, out: str | Path, options: QuestionOptions) -> Run:
    """Ask, in English and Chinese, what every documented name of a package does: `python:stdlib`, `python:numpy`.

    Writes train.jsonl, in rounds that ask every question once; held_out.jsonl, every question in phrasings that the
    first file never uses; validation.jsonl, a thousand rows of the second; and sheets.jsonl, names with their answers as
    plain text for a corpus. The answer is the first sentence of the documentation.
    """
    package = source.removeprefix("python:")
    if package == source:
        raise UserError(f"{source!r} is not a documentation source; write python:stdlib or python:PACKAGE")
    identity = {**as_dict(options), "source": source, "version": _version(package)}
    with runs.start("questions", out, identity) as run:
        if run.finished:
            return Run(run.directory)
        asked = maker.questions(entries(package))
        if not asked:
            raise UserError(f"{source} has no documented public names to ask about")
        with bar("asking", options.rounds) as shown:

            def rounds() -> Iterator[Mapping[str, Any]]:
                for number in range(options.rounds):
                    yield from maker.training_round(asked, options.seed, number)
                    shown.update(number + 1)

            chats = _write(run.directory / TRAIN, rounds())
        sheets = (
            text for number in range(options.sheets) for text in maker.sheets(asked, options.seed, number)
        )
        _write(run.directory / SHEETS, ({"text": text} for text in sheets))
        held = [{**row.chat, "language": row.language} for row in maker.held_out(asked)]
        measured = _write(run.directory / HELD_OUT, held)
        few = min(_VALIDATION_ROWS, measured)
        _write(run.directory / VALIDATION, (held[measured * row // few] for row in range(few)))
        say(f"  {len(asked):,} questions, {chats:,} chats to learn from, {measured:,} in phrasings held out")
        return run.finish(
            [TRAIN, HELD_OUT, VALIDATION, SHEETS], questions=len(asked), chats=chats, held_out=measured
        )


def _version(package: str) -> str:
    if package == "stdlib":
        return sys.version.split()[0]
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    aside, count = aside_of(path), 0
    with writing(path), aside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    aside.replace(path)
    return count
