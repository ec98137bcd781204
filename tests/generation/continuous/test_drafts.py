"""Guesses make a reply quicker and never another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from chatwright.errors import UserError
from chatwright.files import cpp_compiler
from chatwright.generation.continuous.contract import Ask, Piece
from chatwright.generation.continuous.drafts import Drafts
from chatwright.generation.continuous.engine import ContinuousEngine
from chatwright.generation.engine import Vocabulary
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.ways import Part
from generation.continuous.test_engine import ENDLESS, decoder

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler here")
GREEDY = SamplingOptions(max_new_tokens=80, temperature=0.0)
PERIODIC = [[9, 4, 17, 30, 2, 9, 4, 17, 30, 2, 9, 4, 17], [1, 2, 3, 4] * 6, [5] * 12, [8, 1, 60, 33]]


def test_what_followed_before_is_guessed_where_it_stood_last() -> None:
    text = [1, 2, 3, 4, 5, 0, 1, 2, 3, 6, 7, 8, 9, 1, 2, 3]
    assert Drafts(2).guess(text, 9, 1) == [6, 7]
    assert Drafts(8).guess(text, 1, 1) == [6]
    assert Drafts(8).guess(text, 0, 1) == []
    assert Drafts(0).guess(text, 9, 1) == []
    assert Drafts(8).guess([1, 2, 3, 4], 9, 1) == []
    assert Drafts(8).guess([5, 5, 5, 5], 9, 1) == [5], "it follows itself"
    assert Drafts(8).guess([1, 2], 9, 1) == []


def test_what_is_written_is_looked_up_too() -> None:
    drafts, text = Drafts(8), [1, 2, 3, 4]
    for token in (5, 9, 1, 2):
        assert drafts.guess(text, 9, 1) == []
        text.append(token)
    assert drafts.guess([*text, 3], 2, 1) == [4, 5]


def test_guesses_follow_how_often_they_come_true() -> None:
    drafts, text = Drafts(8), [1, 2, 3, *range(10, 30), 1, 2, 3]

    def count(writing: int = 1) -> int:
        return len(drafts.guess(text, 99, writing))

    first = count()
    assert 0 < first < 8
    drafts.judge(8, 0)
    assert 0 < count() < first, "what stood behind a wrong guess was never judged"
    for _ in range(12):
        drafts.judge(8, 8)
    assert count() == 8 and 0 < count(writing=8) <= 8
    for _ in range(12):
        drafts.judge(4, 0)
    assert count() == 0, "nothing is guessed where guesses fail"
    tries = 0
    while count() == 0:
        tries += 1
    assert 5 < tries < 500, "but some time later it is tried again"


def test_more_replies_at_once_leave_less_to_guess() -> None:
    text = [1, 2, 3, *range(10, 30), 1, 2, 3]
    counts = [len(Drafts(8).guess(text, 99, writing)) for writing in (1, 2, 4, 16)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


@pytest.fixture
def engines() -> Iterator[Callable[..., tuple[ContinuousEngine, ContinuousEngine]]]:
    """Two over the same weights: one that guesses, and one that does not."""
    made: list[ContinuousEngine] = []

    def make(inference: Inference | None = None, **options: Any) -> tuple[ContinuousEngine, ContinuousEngine]:
        inference = inference or Inference(decoder(context=512), compiled=True, weights="int8")
        made.extend(ContinuousEngine(inference, drafts=drafts, **options) for drafts in (8, 0))
        return made[-2], made[-1]

    yield make
    for engine in made:
        engine.close()


def pieces(engine: ContinuousEngine, asks: list[Ask]) -> list[list[Piece]]:
    return [list(ticket) for ticket in [engine.submit(ask) for ask in asks]]


@needs_compiler
@pytest.mark.parametrize("slots", [1, 4])
def test_replies_are_the_same_and_take_fewer_steps(
    engines: Callable[..., tuple[ContinuousEngine, ContinuousEngine]], slots: int
) -> None:
    guessing, plain = engines(slots=slots)
    asks = [Ask(prompt, GREEDY, ENDLESS, top_logprobs=2) for prompt in PERIODIC]
    assert pieces(guessing, asks) == pieces(plain, asks)
    stats = guessing.stats()
    assert 40 < stats["accepted_tokens"] < stats["guessed_tokens"]
    assert stats["generated_tokens"] == 80 * len(asks)
    if slots == 1:
        # an accepted token is a step less
        assert plain.stats()["steps"] - stats["steps"] == stats["accepted_tokens"]
    assert plain.stats()["guessed_tokens"] == 0
    # a second turn finds nothing in the cache that was not written
    again = [Ask([*prompt, *([7] * 9)], GREEDY, ENDLESS) for prompt in PERIODIC]
    assert pieces(guessing, again) == pieces(plain, again)


@needs_compiler
def test_every_option_of_a_request_holds_for_guessed_tokens(
    engines: Callable[..., tuple[ContinuousEngine, ContinuousEngine]],
) -> None:
    class Even:
        """Even tokens alone, and no token three times in a row."""

        def __init__(self) -> None:
            self.taken: list[int] = []

        def allowed(self) -> torch.Tensor:
            mask = torch.arange(64) % 2 == 0
            if self.taken[-2:-1] == self.taken[-1:]:
                mask[self.taken[-1:]] = False
            return mask

        def accept(self, token: int) -> None:
            assert bool(self.allowed()[token])
            self.taken.append(token)

    def asks() -> list[Ask]:
        cold = SamplingOptions(max_new_tokens=60, temperature=0.3, seed=4)
        repeated = SamplingOptions(max_new_tokens=60, temperature=0.0, repetition_penalty=1.3)
        ends = Vocabulary(frozenset({7, 21}), frozenset({3, 5}))
        return [
            each
            for prompt in PERIODIC
            for each in (
                Ask(prompt, cold, ends, logprobs=True, row=2),
                Ask(prompt, repeated, ENDLESS),
                Ask(prompt, GREEDY, ENDLESS, constraint=Even()),
                Ask(prompt, GREEDY, ENDLESS, presence_penalty=0.4, frequency_penalty=0.1),
                *(
                    Ask(prompt, GREEDY, ENDLESS, stops=lambda ids, end=length: len(ids) == end)
                    for length in range(30, 50, 3)
                ),
                Ask(prompt, SamplingOptions(max_new_tokens=1, temperature=0.0), ENDLESS),
            )
        ]

    guessing, plain = engines(slots=3)
    assert pieces(guessing, asks()) == pieces(plain, asks())
    assert guessing.stats()["accepted_tokens"] > 50
    assert guessing.stats()["generated_tokens"] == plain.stats()["generated_tokens"], "nothing after the end"
    assert guessing.stats()["slots_free"] == 3


@needs_compiler
def test_a_guess_that_breaks_the_model_costs_nothing(
    engines: Callable[..., tuple[ContinuousEngine, ContinuousEngine]],
) -> None:
    class Fragile(Inference):
        """Fails wherever a guess is run."""

        failures = 0

        def run(self, parts: Sequence[Part]) -> torch.Tensor:
            found = super().run(parts)
            if any(part.wanted > 1 for part in parts):
                self.failures += 1
                raise RuntimeError("a token that nobody wrote")
            return found

    inference = Fragile(decoder(context=512), compiled=True, weights="int8")
    guessing, plain = engines(inference, slots=2)
    asks = [Ask(prompt, GREEDY, ENDLESS) for prompt in PERIODIC]
    assert pieces(guessing, asks) == pieces(plain, asks)
    assert inference.failures > 10 and guessing.stats()["failed"] == 0


def test_where_numbers_depend_on_what_runs_together_nothing_is_guessed() -> None:
    engine = ContinuousEngine(Inference(decoder(context=512), compiled=False), drafts=8)
    try:
        list(engine.submit(Ask(PERIODIC[1], GREEDY, ENDLESS)))
        assert engine.stats()["guessed_tokens"] == 0
    finally:
        engine.close()


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(UserError, match="drafts=-1"):
        ContinuousEngine(Inference(decoder(), compiled=False), drafts=-1)
