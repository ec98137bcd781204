"""Exact answers are counted to the letter, and the interval is Wilson's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.data.records import Chat, Message
from chatwright.errors import UserError
from chatwright.evaluation.answers import Share, exact_match, wilson_interval
from chatwright.generation.text import TextModel, replies
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

ANSWERS = {
    "chain": ("What does chain do?", "Return a chain object."),
    "zip": ("What does zip do?", "Iterate over several iterables."),
    "你好": ("你好", "你好，世界。"),
    "dog": ("dog?", "The dog sleeps: 🙂"),
}


def chat(question: str, answer: str, source: str = "en") -> Chat:
    return Chat((Message("user", question), Message("assistant", answer)), source)


CHATS = [
    chat(question, answer, "zh" if question == "你好" else "en") for question, answer in ANSWERS.values()
]


@pytest.fixture(scope="module")
def talker() -> TextModel:
    """A model that has learnt four answers by heart."""
    texts = [" ".join(words) * 40 for words in ANSWERS.values()]
    tokenizer = Tokenizer(train_tokenizer(texts, TokenizerOptions(vocab_size=424)))
    renderer = Renderer(tokenizer)
    model = Decoder(DecoderOptions(tokenizer.vocab_size, 32, 2, 2, 1, 16, 48, 128))
    model.initialize(torch.Generator().manual_seed(4))
    rows = [renderer.render(row.messages) for row in CHATS]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        for row in rows:
            ids = torch.from_numpy(row.ids).long()
            targets = torch.where(torch.from_numpy(row.mask), ids, IGNORE)[1:]
            (-model(ids[None, :-1], targets=targets[None])["logprobs"].sum()).backward()
        optimizer.step()
    return TextModel(model.eval(), tokenizer, renderer)


def test_a_model_that_says_what_is_expected_is_right(talker: TextModel) -> None:
    found = exact_match(talker, CHATS)
    assert found.overall.value == 1.0 and found.misses == () and all(found.right)
    assert replies(talker, [row.messages[:-1] for row in CHATS], temperature=0.0) == [
        row.messages[-1].content for row in CHATS
    ]


@pytest.mark.parametrize("change", ["cut", "longer", "last", "space"])
def test_a_letter_more_or_less_is_wrong(talker: TextModel, change: str) -> None:
    changed = {
        "cut": lambda text: text[:-1],
        "longer": lambda text: text + "x",
        "last": lambda text: text[:-1] + "x",
        "space": lambda text: " " + text,
    }[change]
    spoilt = [
        replace(row, messages=(row.messages[0], Message("assistant", changed(row.messages[1].content))))
        for row in CHATS
    ]
    found = exact_match(talker, spoilt, shown_misses=3)
    assert found.overall.right == 0 and found.overall.total == len(CHATS)
    assert len(found.misses) == 3
    assert all(
        miss.reply == ANSWERS[key][1]
        for miss, key in zip(found.misses, ("chain", "zip", "你好"), strict=True)
    )


def test_shares_are_counted_by_source(talker: TextModel) -> None:
    rows = [chat(*ANSWERS["chain"], "a"), chat("dog?", "no such answer", "b"), chat(*ANSWERS["zip"], "b")]
    heard: list[int] = []
    found = exact_match(talker, rows, heard.append)
    assert {name: (share.right, share.total) for name, share in found.by_source.items()} == {
        "a": (1, 1),
        "b": (1, 2),
    }
    assert found.right == (True, False, True) and heard[-1] == 3
    assert exact_match(talker, []).overall.value == 0.0


def test_a_chat_without_an_answer_is_refused(talker: TextModel) -> None:
    with pytest.raises(UserError, match=r"file\.jsonl:3"):
        exact_match(talker, [Chat((Message("user", "a"),), "file.jsonl:3")])


def test_wilson_interval_known_answers() -> None:
    # Newcombe 1998, table I: 81/263 → 0.2553 to 0.3662; 0/20 → 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    share = Share(81, 263)
    assert share.interval == wilson_interval(81, 263) and share.value == 81 / 263
