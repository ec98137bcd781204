"""The journey's first verbs on a tiny scale: what other tests start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import chatwright as cw
from chatwright.runs import Run
from helpers.texts import write_chats, write_texts

SHAPE = {
    "model.layers": 2,
    "model.width": 32,
    "model.heads": 2,
    "model.kv_heads": 1,
    "model.head_dim": 16,
    "model.feed_forward": 48,
    "model.context": 128,
}
TRAINING = {"batch_tokens": 512, "context": 64, "precision": "float32", "compile": "no"}
PRETRAIN = {**SHAPE, **TRAINING}
SFT = {**TRAINING, "context": 128}


@dataclass(frozen=True)
class Journey:
    """A folder of texts, a file of chats, and the runs made from them."""

    place: Path
    texts: Path
    chats: Path
    corpus: Run
    tokenizer: Run
    base: Run
    chat: Run


def make_journey(place: Path) -> Journey:
    texts, chats = write_texts(place / "texts"), write_chats(place / "chats.jsonl")
    corpus = cw.corpus(texts, place / "corpus")
    tokenizer = cw.tokenizer(corpus, place / "tok", vocab_size=480)
    base = cw.pretrain(corpus, tokenizer, place / "base", steps=6, save_every=3, eval_every=3, **PRETRAIN)
    chat = cw.sft(base, chats, place / "chat", steps=6, save_every=3, eval_every=3, **SFT)
    return Journey(place, texts, chats, corpus, tokenizer, base, chat)


def words(options: dict[str, object], **more: object) -> list[str]:
    """Options as the command line writes them."""
    return [f"{key}={value}" for key, value in {**options, **more}.items()]
