"""What the quickstart shows at its end: scores, samples, and what to try next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.corpora.reading.rows import rows
from chatwright.corpora.store import documents
from chatwright.data.formats import chat_of
from chatwright.data.questions import HELD_OUT
from chatwright.data.records import Chat as ChatRecord
from chatwright.evaluation.answers import exact_match
from chatwright.files import atomic_write
from chatwright.generation.text import Chat, TextModel, replies
from chatwright.progress import bar
from chatwright.recipes.text.corpus import TEXT
from chatwright.runs import Run

_LANGUAGES = {"en": "English", "zh": "Chinese"}
_ASKED = ("What does itertools.chain do?", "str.join 是做什么的？", "Can you explain textwrap.dedent?")
_ASKED_UNKNOWN = "What does itertools.dedent do?"
_PROMPT_CHARACTERS = 40
_SAMPLES = 5


def measure_answers(chat: Run, held_out: Path, place: Path) -> dict[str, Any]:
    """Ask every question in every held-out phrasing, greedily; the share answered right to the letter, by language.

    The measurement is kept in the journey's folder for the model's content hash, so that a second call reads it.
    """
    kept = place / "answers.json"
    content = chat.info["content"]
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8"))).get("model") == content:
        return {name: value for name, value in found.items() if name != "model"}
    chats = [
        replace(chat_of(row, place), source=str(row["language"])) for place, row in rows(held_out, Counter())
    ]
    model = TextModel.load(chat)
    with bar("asking", len(chats)) as shown:
        scores = exact_match(model, chats, on_progress=shown.update)
    by_language = {language: round(score.value, 4) for language, score in scores.by_source.items()}
    result = {
        "exact_match_unseen_phrasing": by_language,
        "interval_95": {
            language: [round(x, 4) for x in s.interval] for language, s in scores.by_source.items()
        },
        "phrasings_held_out": {language: len(HELD_OUT[language]) for language in by_language},
        "samples": _samples(model, chats),
    }
    atomic_write(kept, dumps({"model": content, **result}))
    return result


def _samples(model: TextModel, chats: list[ChatRecord]) -> list[dict[str, Any]]:
    """A few questions, evenly from all of them, with the model's answers."""
    chosen = [chats[len(chats) * place // _SAMPLES + 3 * place] for place in range(_SAMPLES)]
    answers = replies(model, [chat.messages[:-1] for chat in chosen], temperature=0.0, max_new_tokens=128)
    return [
        {
            "question": chat.messages[-2].content,
            "answer": answer,
            "right": answer == chat.messages[-1].content,
        }
        for chat, answer in zip(chosen, answers, strict=True)
    ]


def summary(report: Mapping[str, Any]) -> Iterator[str]:
    """The short report, line by line."""
    bits, rate, share = report["bits_per_byte"], report["tokens_per_second"], report["machine_share"]
    yield "\nReport"
    yield f"  read                 {report['documents']:,} documents, {report['bytes'] / 1e6:.2f} MB"
    yield f"  model                {report['parameters'] / 1e6:.2f} M parameters, trained {report['training_seconds']:.0f} s"
    yield f"  bits per byte        {bits['before']:.2f} before pretraining, {bits['after']:.2f} after"
    yield f"  training speed       {rate['sft']:,.0f} tokens/s, {share['sft']:.0%} of this machine's matrix-product rate"
    for language, score in report.get("exact_match_unseen_phrasing", {}).items():
        low, high = report["interval_95"][language]
        yield (
            f"  {_LANGUAGES[language]:<20} {score:.1%} of {report['questions']:,} questions right to the letter in unseen "
            f"phrasings ({low:.1%} to {high:.1%})"
        )
    for sample in report.get("samples", []):
        yield f"    {'✓' if sample['right'] else '✗'} {sample['question']} → {sample['answer']}"


def last_model(place: Path) -> str:
    """The folder of the journey's last model: aligned, taught to chat, or pretrained."""
    return next(name for name in ("best", "chat", "base") if name == "base" or (place / name).exists())


def advice(place: Path) -> Iterator[str]:
    """What to try next, line by line."""
    last = last_model(place)
    yield "\nNext"
    yield (
        f'  chatwright generate {place / "base"} "Once"'
        if last == "base"
        else f"  chatwright chat {place / last}"
    )
    if last != "base":
        votes = ", with replies of before and after PPO to vote on" if last == "best" else ""
        yield f"  chatwright serve {place / last}           # a web page{votes}"
    yield f"  chatwright show {place / last}            # plan, curves, lineage; {place / last / 'report.html'}"
    yield "  chatwright quickstart FOLDER            # the same on your own text"
    yield "  chatwright quickstart minutes=30 -o out # a larger model, trained longer"


def answer_samples(chat: Run) -> None:
    """Without a terminal there is nobody to chat with: ask a few questions instead."""
    for question in (*_ASKED, _ASKED_UNKNOWN):
        print(f"> {question}\n{Chat(chat, temperature=0.0).reply(question)}")


def completion_samples(base: Run, text: Run) -> None:
    """Go on from the beginnings of validation documents."""
    model = TextModel.load(base)
    texts = documents(text.directory / TEXT, "validation")
    for found, _ in zip(texts, range(3), strict=False):
        prompt = found[:_PROMPT_CHARACTERS]
        print(f"{prompt}|{''.join(model.complete(prompt, max_new_tokens=80, temperature=0.8, seed=0))}\n")
