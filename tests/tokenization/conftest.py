"""A small tokenizer of two languages, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

TEXTS = [
    f"The {noun} number {index} is {adjective}; it's written as f_{index}(x) = {index} * x.\n\n它是第{index}个{word}，很好！"
    for index in range(300)
    for noun, adjective, word in [
        ("river", "deep", "河流"),
        ("mountain", "high", "山"),
        ("city", "old", "城市"),
    ]
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS, TokenizerOptions(vocab_size=480)))


@pytest.fixture(scope="session")
def directory(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(path)
    return path
