"""The quickstart on a folder of one's own, and what both journeys say and measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.progress import say
from chatwright.recipes.first_run.report import (
    advice,
    completion_samples,
    summary,
)
from chatwright.recipes.first_run.sizes import Size, vocabulary_for
from chatwright.recipes.pretrain import pretrain
from chatwright.recipes.sft import sft
from chatwright.recipes.text.corpus import corpus
from chatwright.recipes.text.tokenizer import tokenizer
from chatwright.runs import Run
from chatwright.tokenization.train import VocabularyTooLarge


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


def own_text(folder: str, place: Path, size: Size, options: QuickstartOptions) -> dict[str, Any]:
    """The journey on the user's text: ends with completions in its manner, and with a chat where chats are given."""
    stages = 5 if options.chats else 4
    stage(1, stages, f"Read: {folder}, repaired, without duplicates, split for validation")
    text = corpus([folder], place / "corpus")
    stage(2, stages, "Cut text into tokens: the most frequent byte pairs become one")
    vocabulary = _fitting_tokenizer(text, place / "tok", size)
    stage(3, stages, "Pretrain: predict the next token, starting from random weights")
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
        stage(4, stages, "Fine-tune on chats: predict the assistant's answers, and only those")
        talk = sft(base, options.chats, place / "chat", minutes=options.minutes - minutes, seed=options.seed)
    stage(stages, stages, "Look: texts that the model writes from beginnings that it has not seen")
    report = figures(text, base, talk)
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


def stage(number: int, of: int, meaning: str) -> None:
    say(f"\n[{number}/{of}] {meaning}")


def figures(text: Run, base: Run, talk: Run) -> dict[str, Any]:
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
