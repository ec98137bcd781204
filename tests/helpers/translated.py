"""A tiny language and its mirror: pairs of texts, a tokenizer for both, and how small a model learns them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import chatwright as cw
from chatwright.runs import Run

_WORDS = {
    "cat": "猫",
    "dog": "狗",
    "bird": "鸟",
    "fish": "鱼",
    "tree": "树",
    "house": "屋",
    "river": "河",
    "stone": "石",
}
_VERBS = {"sees": "看见", "likes": "喜欢", "finds": "找到", "follows": "跟着"}

TRAIN = {
    "model": "transformer-tiny",
    "model.width": 32,
    "model.heads": 2,
    "model.feed_forward": 48,
    "model.encoder_layers": 1,
    "model.decoder_layers": 1,
    "model.context": 64,
    "objective": "seq2seq",
    "source": "en",
    "target": "zh",
    "batch_tokens": 512,
    "context": 64,
    "precision": "float32",
    "compile": "no",
    "translation.beams": 2,
}


def write_pairs(path: Path, count: int = 80, seed: int = 0) -> Path:
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        first, second = draw.choices(list(_WORDS), k=2)
        verb = draw.choice(list(_VERBS))
        rows.append(
            {
                "en": f"The {first} {verb} the {second} number {number}.",
                "zh": f"{_WORDS[first]}{_VERBS[verb]}{number}号{_WORDS[second]}。",
            }
        )
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_tokenizer(pairs: Path, place: Path) -> Run:
    return cw.tokenizer(pairs, place, vocab_size=460, source="en", target="zh")
