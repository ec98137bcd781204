"""`quickstart`: the whole journey in minutes, on text that is already on this machine or on the user's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.read import discover
from chatwright.data.chats import read_chats
from chatwright.errors import UserError
from chatwright.progress import is_interactive, say
from chatwright.recipes.first_run import alignment
from chatwright.recipes.first_run.knowing import knowing_lines, measure_knowing
from chatwright.recipes.first_run.own_text import QuickstartOptions, figures, own_text, stage
from chatwright.recipes.first_run.report import (
    advice,
    answer_samples,
    last_model,
    measure_answers,
    summary,
)
from chatwright.recipes.first_run.sizes import Size, kept_size
from chatwright.recipes.pretrain import pretrain
from chatwright.recipes.sft import sft
from chatwright.recipes.text.corpus import corpus
from chatwright.recipes.text.questions import HELD_OUT, TRAIN, VALIDATION, questions
from chatwright.recipes.text.tokenizer import tokenizer
from chatwright.recipes.verb import verb
from chatwright.runs import Run

_DEFAULT_OUT = "chatwright-quickstart"
# Demonstrations of "I don't know NAME." in a round of nearly five thousand chats; chats that only say something back.
_DEMONSTRATIONS, _ECHOES = 75, 8000
# The text that is on every machine: Python's own documentation, and that of packages that come with Chatwright.
_DOCUMENTATION = ("stdlib", "numpy", "pyarrow", "rich", "jinja2", "tokenizers")

# What documentation needs: it is neither from the web nor by people who told of themselves, and much of it is alike.
_CORPUS_STEPS = ("clean", "exact")


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
    result = own_text(folder, place, size, options) if folder else _python(place, size, options)
    result = {"run": str(place), "seconds": round(time.monotonic() - begun, 1), **result}
    if is_interactive() and (last := last_model(place)) != "base":
        from chatwright.recipes.chat import chat

        chat(place / last, temperature=0)
    return result


def _python(place: Path, size: Size, options: QuickstartOptions) -> dict[str, Any]:
    """The journey on the documentation that every Python has, to an assistant that admits what it does not know."""
    seed = options.seed
    stage(1, 9, "Ask: what does it do? of every documented name, in many English and Chinese phrasings")
    asked = questions(
        "python:stdlib",
        place / "questions",
        rounds=size.rounds,
        unknown=_DEMONSTRATIONS,
        echoes=_ECHOES,
        seed=seed,
    )
    chats = asked.directory / TRAIN
    stage(
        2,
        9,
        "Read: the documentation of Python and of installed packages, repaired, without duplicates, split",
    )
    text = corpus(
        [f"python:{package}" for package in _DOCUMENTATION],
        place / "corpus",
        without=asked.result["kept_out"],
        steps=_CORPUS_STEPS,
    )
    stage(3, 9, "Cut text into tokens: the most frequent byte pairs become one")
    vocabulary = tokenizer(text, place / "tok", vocab_size=size.vocab_size, chats=str(chats))
    stage(4, 9, "Pretrain: predict the next token of the text, starting from random weights")
    minutes, shape = size.pretrain_minutes, size.pretrain
    base = pretrain(text, vocabulary, place / "base", minutes=minutes, seed=seed, model=size.model, **shape)
    stage(5, 9, "Fine-tune on chats: predict the assistant's answers, and only those")
    unseen = str(asked.directory / VALIDATION)
    minutes = size.sft_minutes
    talk = sft(base, chats, place / "chat", minutes=minutes, seed=seed, validation=unseen, **size.sft)
    stage(6, 9, "Compare: what is right over what the assistant says by itself, real names and made-up ones")
    compared = alignment.compare(talk, asked, place / "comparisons", size, seed)
    stage(7, 9, "Reward model: of two replies, the better one scores higher")
    judged_by = alignment.judge(talk, compared, place / "judge", size, seed)
    stage(8, 9, "PPO: replies that the reward model likes become likelier, held to where they started")
    best = alignment.align(talk, judged_by, asked, place / "best", size, seed)
    stage(
        9,
        9,
        "Measure: every question in phrasings never trained on; names that do not exist, before and after",
    )
    measured = measure_answers(talk, asked.directory / HELD_OUT, place)
    knowing = measure_knowing(talk, best, asked, place)
    report = {"questions": asked.result["questions"], **measured, **figures(text, base, talk)}
    report |= {"knowing": knowing, **_alignment_figures(judged_by, best)}
    for line in [*summary(report), *knowing_lines(knowing, judged_by, best), *advice(place)]:
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
