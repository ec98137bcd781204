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
_VALIDATION_ROWS = 1000


@dataclass(frozen=True)
class QuestionOptions:
    """How many chats to make."""

    rounds: int = option(24, "times every question is asked, each time in another phrasing")
    plain: int = option(3, "how many of these come first and ask by the name alone")
    seed: int = option(0, "draws the order and the phrasing of every round")

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")
        if self.rounds < 1:
            raise UserError(f"rounds={self.rounds} must be at least 1")
        if not 0 <= self.plain <= self.rounds:
            raise UserError(f"plain={self.plain} must be from 0 to rounds={self.rounds}")


@verb(QuestionOptions)
def questions(source: str, out: str | Path, options: QuestionOptions) -> Run:
    """Ask, in English and Chinese, what every documented name of a package does: `python:stdlib`, `python:numpy`.

    Writes train.jsonl, in rounds that ask every question once; held_out.jsonl, every question in phrasings that the
    first file never uses; and validation.jsonl, a thousand rows of the second. The answer is the first sentence of the
    documentation. The file's order is a curriculum: `sft … shuffle=no` keeps it.
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
                    make = maker.plain_round if number < options.plain else maker.training_round
                    yield from make(asked, options.seed, number)
                    shown.update(number + 1)

            chats = _write(run.directory / TRAIN, rounds())
        held = [{**row.chat, "language": row.language} for row in maker.held_out(asked)]
        measured = _write(run.directory / HELD_OUT, held)
        few = min(_VALIDATION_ROWS, measured)
        _write(run.directory / VALIDATION, (held[measured * row // few] for row in range(few)))
        say(f"  {len(asked):,} questions, {chats:,} chats to learn from, {measured:,} in phrasings held out")
        return run.finish([TRAIN, HELD_OUT, VALIDATION], questions=len(asked), chats=chats, held_out=measured)


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
