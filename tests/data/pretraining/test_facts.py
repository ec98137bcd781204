"""A tokenizer's facts, and the one frame of texts in training and in use."""

from __future__ import annotations

import numpy as np

from chatwright.data.packing import PADDING
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import frame
from chatwright.tokenization.pairs import Framer
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.journey import Journey


def test_facts_of_our_tokenizer(journey: Journey) -> None:
    tokenizer = Tokenizer.load(journey.tokenizer.directory)
    facts = TokenFacts.of(tokenizer)
    names = [facts.texts[index] for index in (facts.mask, facts.cls, facts.sep, facts.pad)]
    assert names == [b"<|mask|>", b"<|cls|>", b"<|sep|>", b"<|pad|>"]
    assert set(np.flatnonzero(facts.special).tolist()) == set(tokenizer.special_ids)
    assert len(facts.ordinary) + len(tokenizer.special_ids) == tokenizer.vocab_size
    ids = tokenizer.encode("The cat sees 猫.")
    assert b"".join(facts.texts[index] for index in ids).decode() == "The cat sees 猫."


def test_rows_are_framed_as_texts_are_in_use(journey: Journey) -> None:
    tokenizer = Tokenizer.load(journey.tokenizer.directory)
    facts, framer = TokenFacts.of(tokenizer), Framer(tokenizer)
    first, second = (np.array(tokenizer.encode(text)) for text in ("The cat.", " A dog"))
    for texts in ([first], [first, second]):
        row, wanted = frame(texts, facts, 32), framer.frame(*(text.tolist() for text in texts))
        real = row.segments != PADDING
        assert row.inputs[real].tolist() == wanted.ids.tolist()
        assert row.types is not None
        assert row.types[real].tolist() == wanted.types.tolist()
