"""The rounds of chats that `questions` writes: names asked about, names admitted as unknown, words said back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from chatwright.config import at_least, option
from chatwright.corpora.reading.python_docs import entries, exists
from chatwright.data import questions as maker
from chatwright.data.echoes import echoes
from chatwright.data.questions import Chat, Question
from chatwright.data.unknown_names import Unknown, unknown, with_demonstrations
from chatwright.errors import UserError

MOST_ECHOED, _CHATS_AN_ECHO = 3, 10
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
        at_least(self, 1, "rounds", "validation_rows", "test_rows")
        at_least(self, 2, "prompts")
        if not 0 <= self.plain <= self.rounds:
            raise UserError(f"plain={self.plain} must be from 0 to rounds={self.rounds}")
        if not 0 <= self.kept_out <= 0.5:
            raise UserError(f"kept_out={self.kept_out:g} must be from 0 to 0.5")
        if self.unknown and self.plain == self.rounds:
            raise UserError(
                f"unknown={self.unknown} needs rounds that are not plain; give more than rounds={self.rounds}"
            )


def made_unknown(package: str, asked: Sequence[Question], options: QuestionOptions) -> Unknown:
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


def one_round(
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


def echoing(
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


def sprinkled(
    chats: list[Chat], echo: Callable[[int, int], Iterator[Chat]], options: QuestionOptions
) -> Iterator[Chat]:
    """The chats, with an echo after every tenth."""
    said = echo(len(chats) // _CHATS_AN_ECHO if options.echoes else 0, 1)
    for number, chat in enumerate(chats, 1):
        yield chat
        if options.echoes and number % _CHATS_AN_ECHO == 0:
            yield next(said)
