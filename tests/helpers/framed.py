"""Stores of sentences and toy tokenizers' facts, for objectives that read both ways."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.store import TokenStore, write_store

CONTROL = (b"<begin>", b"<mask>", b"<cls>", b"<sep>", b"<pad>")
BEGIN, MASK, CLS, SEP, PAD = range(5)


def facts_of(*texts: str | bytes) -> TokenFacts:
    """Facts of a tokenizer with five control tokens, 0 to 4, and these tokens from 5 on."""
    words = [text.encode() if isinstance(text, str) else text for text in texts]
    special = np.arange(len(words) + 5) < 5
    return TokenFacts(MASK, CLS, SEP, PAD, (*CONTROL, *words), special)


STOP = 5
WORDS = facts_of(".", *(f" w{n}" for n in range(58)))
"""64 tokens: control tokens, the full stop (5), and 58 words."""


def numbered_documents(sentences: Sequence[int], length: int = 3) -> list[list[int]]:
    """A document for each number of sentences, of `length` words and a full stop each; all words of document d are
    6 + d % 58."""
    return [[BEGIN, *([6 + d % 58] * length + [STOP]) * count] for d, count in enumerate(sentences)]


def store_of(place: Path, documents: Sequence[Sequence[int]], size: int = 64) -> TokenStore:
    arrays = ((np.array(ids, dtype=np.int32), None) for ids in documents)
    return write_store(place, arrays, vocab_size=size)
