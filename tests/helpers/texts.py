"""Tiny texts, chats and tokenizers, the same on every machine."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

_NOUNS = ["cat", "dog", "bird", "fish", "tree", "river", "house", "stone", "猫", "狗", "鸟", "山"]
_VERBS = ["sees", "hears", "follows", "likes", "finds", "paints", "看见", "喜欢"]


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [
        f"The {draw.choice(_NOUNS)} {draw.choice(_VERBS)} the {draw.choice(_NOUNS)} number {n}."
        for n in range(count)
    ]


def write_texts(folder: Path, documents: int = 40, seed: int = 0) -> Path:
    """A folder of small documents, six sentences each."""
    folder.mkdir(parents=True)
    lines = sentences(6 * documents, seed)
    for n in range(documents):
        (folder / f"{n:03}.txt").write_text("\n".join(lines[6 * n : 6 * n + 6]), encoding="utf-8")
    return folder


def chat_row(question: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


def write_chats(path: Path, count: int = 40, seed: int = 1) -> Path:
    rows = [chat_row(f"What is {n}?", text) for n, text in enumerate(sentences(count, seed))]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
