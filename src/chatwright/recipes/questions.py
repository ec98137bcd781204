"""`questions`: chats that ask what documented names do, made from the documentation of installed packages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.config import as_dict, option
from chatwright.corpora.python_docs import entries, exists
from chatwright.data import questions as maker
from chatwright.data.echoes import echoes
from chatwright.data.questions import Chat, Question
from chatwright.data.unknown_names import Unknown, unknown, with_demonstrations
from chatwright.errors import UserError
from chatwright.files import aside_of, writing
from chatwright.progress import bar, say
from chatwright.recipes.verb import verb
from chatwright.runs import Run

TRAIN, HELD_OUT, VALIDATION = "train.jsonl", "held_out.jsonl", "validation.jsonl"
PROMPTS, UNKNOWN_VALIDATION, UNKNOWN_TEST = "prompts.jsonl", "unknown_validation.jsonl", "unknown_test.jsonl"
_VALIDATION_ROWS = 1000
_MOST_ECHOED, _CHATS_AN_ECHO = 3, 10
_WORD = re.compile(r"[A-Za-z_]{2,}")


@dataclass(frozen=True)
class QuestionOptions:
    """How many chats to make, and whether also what teaches to say "I don't know"."""

    rounds: int = option(24, "times every question is asked, each time in another phrasing")
    plain: int = option(3, "how many of these come first and ask by the name alone")
    seed: int = option(0, "draws the order and the phrasing of every round")
    unknown: int = option(
        0,
        'chats a round that answer "I don\'t know NAME." of made-up names; the options below need one or more',
    )
    echoes: int = option(
        0, "chats that ask to say something back, before all others, and one to ten chats among the others"
    )
    kept_out: float = option(
        0.06, "about the share of the questions, whole modules, that training never asks"
    )
    prompts: int = option(12_000, "prompts to align on: real names and made-up ones, half and half")
    validation_rows: int = option(150, "rows to choose by, of each kind of name and language")
    test_rows: int = option(300, "rows to test with, of each kind of name and language")

    def __post_init__(self) -> None:
        for name in ("seed", "unknown", "echoes"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)} must be 0 or more")
        for name, least in (("rounds", 1), ("prompts", 2), ("validation_rows", 1), ("test_rows", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)} must be at least {least}")
        if not 0 <= self.plain <= self.rounds:
            raise UserError(f"plain={self.plain} must be from 0 to rounds={self.rounds}")
        if not 0 <= self.kept_out <= 0.5:
            raise UserError(f"kept_out={self.kept_out:g} must be from 0 to 0.5")
        if self.unknown and self.plain == self.rounds:
            raise UserError(
                f"unknown={self.unknown} needs rounds that are not plain; give more than rounds={self.rounds}"
            )


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
        made = _unknown(package, asked, options) if options.unknown else None
        asked = made.division.rest if made else asked
        with bar("asking", options.rounds) as shown:

            def rounds() -> Iterator[Mapping[str, Any]]:
                echo = _echoing(package, asked, made, options)
                yield from echo(options.echoes, _MOST_ECHOED)
                for number in range(options.rounds):
                    yield from _sprinkled(_round(asked, made, options, number), echo, options)
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


def _unknown(package: str, asked: Sequence[Question], options: QuestionOptions) -> Unknown:
    documented = {entry.name for entry in entries(package)}
    return unknown(
        asked,
        lambda name: name in documented or exists(name),
        options.seed,
        share=options.kept_out,
        demonstrations=options.unknown * (options.rounds - options.plain),
        prompted=options.prompts,
        rows=(options.validation_rows, options.test_rows),
        first_round=options.rounds,
    )


def _round(
    asked: Sequence[Question], made: Unknown | None, options: QuestionOptions, number: int
) -> list[Chat]:
    if number < options.plain:
        return maker.plain_round(asked, options.seed, number)
    chats = maker.training_round(asked, options.seed, number)
    if made is None:
        return chats
    start = options.unknown * (number - options.plain)
    names = made.demonstrated[start : start + options.unknown]
    return with_demonstrations(chats, asked, names, options.seed, number)


def _echoing(
    package: str, asked: Sequence[Question], made: Unknown | None, options: QuestionOptions
) -> Callable[[int, int], Iterator[Chat]]:
    """Makes chats that say back; never a name that is measured with, nor a word that only what is kept out has."""
    kept = set(made.division.modules) if made else set()
    known = (
        [entry for entry in entries(package) if entry.name.split(".")[0] not in kept]
        if options.echoes
        else []
    )
    words = sorted({word for entry in known for word in _WORD.findall(entry.doc)})
    apart = {row["name"] for row in (*made.validation, *made.test)} if made else set()
    names, turn = [question.name for question in asked], count()
    return lambda number, most: echoes(names, words, apart, number, most, f"{options.seed}/{next(turn)}")


def _sprinkled(
    chats: list[Chat], echo: Callable[[int, int], Iterator[Chat]], options: QuestionOptions
) -> Iterator[Chat]:
    """The chats, with an echo after every tenth."""
    said = echo(len(chats) // _CHATS_AN_ECHO if options.echoes else 0, 1)
    for number, chat in enumerate(chats, 1):
        yield chat
        if options.echoes and number % _CHATS_AN_ECHO == 0:
            yield next(said)


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
