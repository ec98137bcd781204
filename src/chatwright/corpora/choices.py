"""What the user chooses for a corpus: its options, which steps run, how often each input stands in training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.config import option
from chatwright.corpora.operators.mixing import Wish, wish
from chatwright.corpora.reading.limits import Limits
from chatwright.errors import UserError, did_you_mean

STEPS = (
    "clean",
    "language",
    "quality",
    "classifier",
    "personal",
    "toxicity",
    "decontaminate",
    "exact",
    "near",
    "paragraphs",
    "sentences",
)
"""The steps that come with the package, in the order that serves: what is cheap or removes much comes early.

What drops a document for its own sake comes before the steps that compare documents: of two that are alike the one
that stays is then not lost to a later step.
"""

_WHEN_TOLD = ("classifier", "decontaminate", "sentences")

DEFAULT_STEPS = tuple(name for name in STEPS if name not in _WHEN_TOLD)
"""The steps that documents pass where nothing else is said; the others need to be told something first."""

_LITTLE = 1 << 20
_FOR_MUCH = ("quality",)


@dataclass(frozen=True)
class CommonOptions:
    """What the corpus is made with, beside the options of its steps."""

    seed: int = option(0, "draws which documents are validation")
    validation: float = option(0.01, "the share of documents that is validation (at least one document)")
    text_field: str | None = option(None, "the key of the text in rows (or text, content, document, body)")
    without: tuple[str, ...] = option(
        (), "what named sources leave out, with all that stands under it: zipfile,os.path"
    )
    steps: tuple[str, ...] | None = option(
        None, f"the steps that documents pass, in order (or {','.join(DEFAULT_STEPS)})"
    )
    without_steps: tuple[str, ...] = option((), "steps to leave out: quality,near")
    mix: dict[str, Any] = option(
        {}, "how often an input stands in training, or its share: mix.books=2.5 mix.web=30%"
    )
    mirror: str | None = option(None, "a folder with data sets for hf: and modelscope:, looked into first")
    limits: Limits = option(Limits(), "what one file may take, as limits.seconds=60 limits.megabytes=1024")
    part_mb: int = option(32, "how much text a worker holds at once, in MB")


@dataclass(frozen=True)
class CorpusOptions(CommonOptions):
    """What the corpus is made with."""

    step_options: dict[str, Any] = option({}, "options of steps by their names: {'near': {'bands': 32}}")


def chosen_steps(options: CorpusOptions, input_bytes: int) -> tuple[list[str], list[str]]:
    """The names of the steps, in order, and warnings about them.

    Where no steps are named: those of `DEFAULT_STEPS`, and others of `STEPS` whose options are given. Of less than
    1 MB of input all is taken to be meant: `quality`, which finds what is good in very much text, is left out.
    Raises UserError for a name in `without_steps` and for options of a step that is not among the steps.
    """
    given = {name for name, values in options.step_options.items() if values}
    warnings = []
    if options.steps is None:
        names = [name for name in STEPS if name in DEFAULT_STEPS or name in given]
        for name in set(_FOR_MUCH) - given - {*options.without_steps}:
            if input_bytes < _LITTLE:
                names.remove(name)
                warnings.append(f"{name} was left out, as the input is less than 1 MB; steps= turns it on")
    else:
        names = [name for name in options.steps if name]
    for name in options.without_steps:
        if name not in STEPS and name not in names:
            raise UserError(
                f"without_steps={name}: there is no such step{did_you_mean(name, {*STEPS, *names})}"
            )
    names = [name for name in names if name not in options.without_steps]
    for name in sorted(given - {*names}):
        key = next(iter(options.step_options[name]))
        raise UserError(f"{name}.{key} is given, but {name} is not among the steps ({', '.join(names)})")
    return names, warnings


def input_wishes(mix: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Wish]:
    """What is wished of each input: epochs (2.5), or a share of the training text (30%).

    `mix` names inputs as they were given, or by the last part of their path without its ending, with `_` for signs:
    `en_books` for `data/en-books.jsonl.gz`.
    """
    found: dict[str, Wish] = {}
    short = {name: _short_name(name) for name in inputs}
    for key, value in mix.items():
        named = [name for name in inputs if key in (name, short[name])]
        if not named:
            raise UserError(f"mix.{key}: no input is called so{did_you_mean(key, short.values())}")
        if len(named) > 1:
            raise UserError(f"mix.{key} may be {' or '.join(named)}; name it whole in a file for --config")
        found[named[0]] = wish(value, f"mix.{key}")
    return found


def _short_name(name: str) -> str:
    last = re.split(r"[/:]", name.rstrip("/"))[-1]
    return re.sub(r"\W+", "_", last.split(".")[0])
