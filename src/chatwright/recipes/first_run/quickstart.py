"""`quickstart`: the whole journey in minutes, on text that is already on this machine or on the user's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.corpora.documents import Tally
from chatwright.corpora.read import discover
from chatwright.data.chats import read_chats
from chatwright.errors import UserError
from chatwright.progress import is_interactive, say
from chatwright.recipes.corpus import corpus
from chatwright.recipes.first_run import alignment
from chatwright.recipes.first_run.report import (
    advice,
    answer_samples,
    completion_samples,
    last_model,
    measure_answers,
    summary,
)
from chatwright.recipes.first_run.sizes import Size, kept_size, vocabulary_for
from chatwright.recipes.pretrain import pretrain
from chatwright.recipes.questions import HELD_OUT, TRAIN, VALIDATION, questions
from chatwright.recipes.sft import sft
from chatwright.recipes.tokenizer import tokenizer
from chatwright.recipes.verb import verb
from chatwright.runs import Run
from chatwright.tokenization.train import VocabularyTooLarge

_DEFAULT_OUT = "chatwright-quickstart"
# Demonstrations of "I don't know NAME." in a round of nearly five thousand chats; chats that only say something back.
_DEMONSTRATIONS, _ECHOES = 75, 8000
# The text that is on every machine: Python's own documentation, and that of packages that come with Chatwright.
_DOCUMENTATION = ("stdlib", "numpy", "pyarrow", "rich", "jinja2", "tokenizers")


@dataclass(frozen=True)
class QuickstartOptions:
    """How long, and with which chance."""

    minutes: float = option(
        6.0, "time for pretraining and fine-tuning together; everything scales with it, alignment's too"
    )
    seed: int = option(0, "of weights, order and every random choice")
    chats: str | None = option(None, "with a FOLDER: a file of chats to fine-tune on")

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= 24 * 60:
            raise UserError(f"minutes={self.minutes:g} must be more than 0 and at most a day's 1,440")


@verb(QuickstartOptions)
def quickstart(
    folder: str | None = None, out: str | Path | None = None, options: QuickstartOptions = QuickstartOptions()
) -> dict[str, Any]:
    """Go from text to a chat: without FOLDER on the documentation that is installed here, with it on your text.

    Every stage is an ordinary verb; run it again and it goes on where it stopped.
    """
    begun = time.monotonic()
    place = Path(out or _DEFAULT_OUT)
    if folder is None and options.chats:
        raise UserError(
            "chats= needs a FOLDER of text to pretrain on; or run `chatwright sft` on a model you have"
        )
    if options.chats:
        next(iter(read_chats(options.chats)))
    if folder is not None:
        discover([folder], Tally())  # refuses what is not there before anything is written
    size = kept_size(place, options.minutes)
    result = _own_text(folder, place, size, options) if folder else _python(place, size, options)
    result = {"run": str(place), "seconds": round(time.monotonic() - begun, 1), **result}
    if is_interactive() and (last := last_model(place)) != "base":
        from chatwright.recipes.chat import chat

        chat(place / last, temperature=0)
    return result


def _python(place: Path, size: Size, options: QuickstartOptions) -> dict[str, Any]:
    """The journey on the documentation that every Python has, to an assistant that admits what it does not know."""
    seed = options.seed
    _stage(1, 9, "Ask: what does it do? of every documented name, in many English and Chinese phrasings")
    asked = questions(
        "python:stdlib",
        place / "questions",
        rounds=size.rounds,
        unknown=_DEMONSTRATIONS,
        echoes=_ECHOES,
        seed=seed,
    )
    chats = asked.directory / TRAIN
    _stage(
        2,
        9,
        "Read: the documentation of Python and of installed packages, repaired, without duplicates, split",
    )
    text = corpus(
        [f"python:{package}" for package in _DOCUMENTATION],
        place / "corpus",
        without=asked.result["kept_out"],
    )
    _stage(3, 9, "Cut text into tokens: the most frequent byte pairs become one")
    vocabulary = tokenizer(text, place / "tok", vocab_size=size.vocab_size, chats=str(chats))
    _stage(4, 9, "Pretrain: predict the next token of the text, starting from random weights")
    minutes, shape = size.pretrain_minutes, size.pretrain
    base = pretrain(text, vocabulary, place / "base", minutes=minutes, seed=seed, model=size.model, **shape)
    _stage(5, 9, "Fine-tune on chats: predict the assistant's answers, and only those")
    unseen = str(asked.directory / VALIDATION)
    minutes = size.sft_minutes
    talk = sft(base, chats, place / "chat", minutes=minutes, seed=seed, validation=unseen, **size.sft)
    _stage(6, 9, "Compare: what is right over what the assistant says by itself, real names and made-up ones")
    compared = alignment.compare(talk, asked, place / "comparisons", size, seed)
    _stage(7, 9, "Reward model: of two replies, the better one scores higher")
    judged_by = alignment.judge(talk, compared, place / "judge", size, seed)
    _stage(8, 9, "PPO: replies that the reward model likes become likelier, held to where they started")
    best = alignment.align(talk, judged_by, asked, place / "best", size, seed)
    _stage(
        9,
        9,
        "Measure: every question in phrasings never trained on; names that do not exist, before and after",
    )
    measured = measure_answers(talk, asked.directory / HELD_OUT, place)
    knowing = alignment.measure_knowing(talk, best, asked, place)
    report = {"questions": asked.result["questions"], **measured, **_figures(text, base, talk)}
    report |= {"knowing": knowing, **_alignment_figures(judged_by, best)}
    for line in [*summary(report), *alignment.knowing_lines(knowing, judged_by, best), *advice(place)]:
        say(line)
    if not is_interactive():
        answer_samples(best)
    return report


def _alignment_figures(judged_by: Run, best: Run) -> dict[str, Any]:
    found = judged_by.result["after"]
    return {
        "reward_model": {
            name: found[name] for name in ("accuracy", "accuracy_interval", "calibration_error")
        },
        "alignment_seconds": round(judged_by.info["seconds"] + best.info["seconds"], 1),
        "best_step": best.result["best_step"],
    }


def _own_text(folder: str, place: Path, size: Size, options: QuickstartOptions) -> dict[str, Any]:
    """The journey on the user's text: ends with completions in its manner, and with a chat where chats are given."""
    stages = 5 if options.chats else 4
    _stage(1, stages, f"Read: {folder}, repaired, without duplicates, split for validation")
    text = corpus([folder], place / "corpus")
    _stage(2, stages, "Cut text into tokens: the most frequent byte pairs become one")
    vocabulary = _fitting_tokenizer(text, place / "tok", size)
    _stage(3, stages, "Pretrain: predict the next token, starting from random weights")
    minutes = options.minutes / 2 if options.chats else options.minutes
    base = pretrain(
        text,
        vocabulary,
        place / "base",
        minutes=minutes,
        seed=options.seed,
        model=size.text_model,
        context=256,
        batch_tokens=4096,
    )
    talk = base
    if options.chats:
        _stage(4, stages, "Fine-tune on chats: predict the assistant's answers, and only those")
        talk = sft(base, options.chats, place / "chat", minutes=options.minutes - minutes, seed=options.seed)
    _stage(stages, stages, "Look: texts that the model writes from beginnings that it has not seen")
    report = _figures(text, base, talk)
    completion_samples(base, text)
    for line in [*summary(report), *advice(place)]:
        say(line)
    return report


def _fitting_tokenizer(text: Run, place: Path, size: Size) -> Run:
    """A tokenizer of the size wanted, or of the largest that a small text can fill."""
    kept = Run(place)
    wanted = kept.options["vocab_size"] if kept.exists else vocabulary_for(text, size)
    try:
        return tokenizer(text, place, vocab_size=wanted)
    except VocabularyTooLarge as full:
        return tokenizer(text, place, vocab_size=full.largest)


def _stage(number: int, of: int, meaning: str) -> None:
    say(f"\n[{number}/{of}] {meaning}")


def _figures(text: Run, base: Run, talk: Run) -> dict[str, Any]:
    """What the runs measured."""
    before, after = base.result["before"], base.result["after"]
    return {
        "documents": text.result["kept"]["documents"],
        "bytes": text.result["kept"]["bytes"],
        "parameters": base.plan["parameters"],
        "bits_per_byte": {"before": _rounded(before), "after": _rounded(after)},
        "tokens_per_second": {
            "pretrain": base.result["tokens_per_second"],
            "sft": talk.result["tokens_per_second"],
        },
        "machine_share": {"pretrain": base.result["machine_share"], "sft": talk.result["machine_share"]},
        "training_seconds": base.info["seconds"] + (talk.info["seconds"] if talk != base else 0.0),
    }


def _rounded(evaluation: Mapping[str, Any]) -> float:
    return round(float(evaluation["bits_per_byte"]), 4)
