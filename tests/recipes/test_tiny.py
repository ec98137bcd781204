"""Corpora of one line, one file, ten kilobytes; chats of one conversation: each trains to the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chatwright as cw
from helpers.journey import PRETRAIN, SFT, Journey
from helpers.texts import chat_row, sentences


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one-line", "The cat sees the dog."),
        ("one-file", "\n\n".join(sentences(20))),
        ("10-kB", "\n".join(sentences(300))[:10_000]),
        ("one-word", "cat"),
    ],
)
def test_pretraining_on_very_little_text(journey: Journey, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    corpus = cw.corpus(path, tmp_path / "corpus")
    base = cw.pretrain(corpus, journey.tokenizer, tmp_path / "base", steps=3, **PRETRAIN)
    assert base.finished
    assert base.result["after"]["bits_per_byte"] > 0
    assert base.result["tokens"] == 3 * 512


@pytest.mark.parametrize("count", [1, 2, 19, 21])
def test_fine_tuning_on_very_few_chats(journey: Journey, tmp_path: Path, count: int) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(json.dumps(chat_row(f"What is {n}?", "A number.")) for n in range(count)))
    run = cw.sft(journey.base, path, tmp_path / "chat", **SFT)
    assert run.finished
    assert run.result["steps"] >= 1
    assert bool(run.result["after"]) == (count >= 20)


def test_pretraining_by_the_clock(journey: Journey, tmp_path: Path) -> None:
    base = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "base", minutes=0.08, **PRETRAIN)
    assert base.plan["steps"] >= 1
    assert base.result["steps"] >= 1
    least = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "short", minutes=0.001, **PRETRAIN)
    assert least.result["steps"] == 1
