"""Megabytes of text a second through our `encode_batch` and that of `tokenizers`, as one JSON object.

The tokenizer is trained on the spot; both encode the same texts to the same ids, which is checked, and take turns.

    python benchmarks/tokenizing.py [--texts FILE …] [--megabytes 4] [--vocab-size 8192] [--repeats 3]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from chatwright.corpora.reading.python_docs import documents
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

CHINESE = Path(__file__).parents[2] / "shared" / "data" / "corpus"


def python_texts() -> Iterator[str]:
    """The documentation of this Python's standard library."""
    for _, text in documents("stdlib"):
        yield text


def chinese_texts() -> Iterator[str]:
    """Chinese documents, where such text lies beside the repository."""
    for path in sorted(CHINESE.glob("zh_*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def first_bytes(texts: Iterator[str], limit: int) -> list[str]:
    chosen, size = [], 0
    for text in texts:
        chosen.append(text)
        size += len(text.encode())
        if size >= limit:
            break
    return chosen


def compare(texts: list[str], vocab_size: int, repeats: int) -> dict[str, Any]:
    backend = train_tokenizer(texts, TokenizerOptions(vocab_size=vocab_size))
    ours = Tokenizer(backend)
    ways = {
        "ours": lambda: ours.encode_batch(texts),
        "tokenizers": lambda: backend.encode_batch_fast(texts, add_special_tokens=False),
    }
    same = all(
        a.tolist() == b.ids
        for a, b in zip(ways["ours"](), ways["tokenizers"](), strict=True)  # type: ignore[no-untyped-call]
    )
    size = sum(len(text.encode()) for text in texts) / 1e6
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            rates[name].append(size / (time.perf_counter() - begun))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "megabytes": round(size, 2),
        "texts": len(texts),
        "same_ids": same,
        "megabytes_per_second": {name: round(rate, 2) for name, rate in middle.items()},
        "ratio": round(middle["ours"] / middle["tokenizers"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="*", type=Path, default=[])
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    sources = {"python:stdlib": python_texts(), "chinese": chinese_texts()}
    for path in arguments.texts:
        sources[path.name] = iter(path.read_text(encoding="utf-8").splitlines())
    results: dict[str, Any] = {}
    for name, texts in sources.items():
        chosen = first_bytes(texts, int(arguments.megabytes * 1e6))
        results[name] = (
            compare(chosen, arguments.vocab_size, arguments.repeats) if chosen else "no such text here"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
