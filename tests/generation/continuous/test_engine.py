"""Requests that come and go at every step are each answered as if they were alone."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from chatwright.errors import UserError
from chatwright.files import cpp_compiler
from chatwright.generation.continuous.contract import (
    Ask,
    Client,
    EngineClosed,
    GenerationFailed,
    Piece,
    QueueFull,
    Ticket,
)
from chatwright.generation.continuous.engine import ContinuousEngine
from chatwright.generation.engine import Ids, Vocabulary, generate
from chatwright.generation.inference import Inference
from chatwright.generation.native import Weights
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.ways import Part
from chatwright.models.decoder import Decoder
from helpers.decoders import DECODERS
from helpers.parity import lively

ENDS = Vocabulary(frozenset({7, 21}), frozenset({3, 5}))
ENDLESS = Vocabulary(frozenset())
GREEDY = SamplingOptions(max_new_tokens=20, temperature=0.0)
SAMPLED = SamplingOptions(max_new_tokens=20, temperature=1.0, seed=5)


def decoder(name: str = "qwen3", **shape: int) -> Decoder:
    options = DECODERS[name]
    return lively(Decoder(type(options)(**{**vars(options), **shape}))).eval()


def prompts_of(lengths: Sequence[int], seed: int = 3) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 64, (length,), generator=draw).tolist() for length in lengths]


PROMPTS = prompts_of((1, 3, 9, 22, 28, 5, 12, 14, 2, 7, 22, 1))


class Gate(Inference):
    """An inference that waits for leave before each call, or fails for some tokens."""

    def __init__(self, model: Decoder, weights: Weights = "float32") -> None:
        super().__init__(model, compiled=True, weights=weights)
        self.is_open, self.poison = threading.Event(), -1
        self.is_open.set()
        self.calls: list[list[int]] = []

    def settle_threads(self, threads: int | None) -> None:
        """At once."""

    def run(self, parts: Sequence[Part]) -> Tensor:
        self.is_open.wait(10)
        self.calls.append([len(part.ids) for part in parts])
        found = super().run(parts)
        if any(self.poison in part.ids for part in parts):
            raise RuntimeError("bad token")
        return found


class Slow(Gate):
    """Every call takes some time."""

    def run(self, parts: Sequence[Part]) -> Tensor:
        time.sleep(0.002)
        return super().run(parts)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., ContinuousEngine]]:
    made: list[ContinuousEngine] = []

    def make(model: Decoder | Inference | None = None, **options: object) -> ContinuousEngine:
        made.append(ContinuousEngine(model or Gate(decoder()), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for engine in made:
        if isinstance(engine.inference, Gate):
            engine.inference.is_open.set()
        engine.close()


def read(ticket: Ticket) -> tuple[list[int], str | None]:
    pieces = list(ticket)
    return [token for piece in pieces for token in piece.ids], pieces[-1].finish_reason


def all_of(tickets: Sequence[Ticket]) -> list[tuple[list[int], str | None]]:
    return [read(ticket) for ticket in tickets]


def alone(inference: Inference, ask: Ask) -> tuple[list[int], str]:
    answer = generate(inference, [ask.prompt], ask.sampling, ask.vocabulary, numbers=[ask.row])[0]
    return answer.ids, answer.finish_reason


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("name", DECODERS)
def test_replies_are_those_of_the_prompt_alone(
    engine_of: Callable[..., ContinuousEngine], name: str, weights: Weights
) -> None:
    inference = Inference(decoder(name), compiled=True, weights=weights)
    asks = [
        Ask(prompt, options, ENDS, row=row)
        for options in (GREEDY, SAMPLED)
        for row, prompt in enumerate(PROMPTS)
    ]
    expected = [alone(inference, ask) for ask in asks]
    assert len({len(ids) for ids, _ in expected}) > 2, "the replies must end at different steps"
    for slots in (1, 3, 16):
        engine = engine_of(inference, slots=slots, queue=64)
        assert all_of([engine.submit(ask) for ask in asks]) == expected
        assert engine.stats()["slots_free"] == slots and engine.stats()["finished"] == len(asks)


def test_a_request_that_comes_in_the_middle_changes_nothing(
    engine_of: Callable[..., ContinuousEngine],
) -> None:
    inference = Gate(decoder(), "int8")
    expected = [alone(inference, Ask(prompt, SAMPLED, ENDLESS)) for prompt in PROMPTS]
    engine, tickets = engine_of(inference, slots=4), []
    for prompt in PROMPTS:
        tickets.append(engine.submit(Ask(prompt, SAMPLED, ENDLESS)))
        if len(tickets) % 3 == 0:
            time.sleep(0.01)
    assert all_of(tickets) == expected


def test_every_request_has_options_of_its_own(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Inference(decoder(), compiled=True)
    options = [
        SamplingOptions(max_new_tokens=4, temperature=0.0),
        SamplingOptions(max_new_tokens=9, temperature=0.3, top_k=5, seed=1),
        SamplingOptions(max_new_tokens=12, temperature=2.0, top_p=0.8, seed=2),
        SamplingOptions(max_new_tokens=12, temperature=2.0, top_p=1.0, min_p=0.1, seed=2),
        SamplingOptions(max_new_tokens=12, temperature=0.9, repetition_penalty=1.5, seed=4),
        SamplingOptions(max_new_tokens=12, temperature=0.0, repetition_penalty=1.5),
    ]
    asks = [Ask(PROMPTS[4], each, ENDS) for each in options]
    engine = engine_of(inference, slots=6)
    assert all_of([engine.submit(ask) for ask in asks]) == [alone(inference, ask) for ask in asks]


def test_a_second_turn_runs_only_what_is_new(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder(context=2200), "int8")
    engine = engine_of(inference)
    (first,) = prompts_of((2000,))
    ticket = engine.submit(Ask(first, GREEDY, ENDLESS))
    ids, _ = read(ticket)
    assert ticket.reused_tokens == 0 and engine.stats()["prefilled_tokens"] == 2000
    second = [*first, *ids, 9, 8, 7]
    ticket = engine.submit(Ask(second, GREEDY, ENDLESS))
    found = read(ticket)
    # the reply's last token was never run
    assert ticket.reused_tokens == 2000 + len(ids) - 1
    assert engine.stats()["prefilled_tokens"] == 2000 + 4
    again = engine.submit(Ask(second, GREEDY, ENDLESS))
    assert read(again) == found and again.reused_tokens == len(second) - 1


def test_what_is_reused_changes_nothing(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Inference(decoder(), compiled=True)
    base = prompts_of((24,))[0]
    prompts = [base[:cut] + tail for cut in (24, 5, 17, 24, 1) for tail in ([], [9], [9, 9, 4, 2])]
    expected = [alone(inference, Ask(prompt, GREEDY, ENDS)) for prompt in prompts]
    for slots in (1, 2, 5):
        engine = engine_of(inference, slots=slots)
        assert all_of([engine.submit(Ask(prompt, GREEDY, ENDS)) for prompt in prompts]) == expected
        assert engine.stats()["reused_tokens"] > 50


def test_a_long_prompt_does_not_stall_the_others(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder(context=3000))
    engine = engine_of(inference)
    engine._scheduler._token_seconds = 0.001
    inference.is_open.clear()
    writer = engine.submit(Ask([1, 2], SamplingOptions(max_new_tokens=60, temperature=0.0), ENDLESS))
    long, short = (engine.submit(Ask(prompt, GREEDY, ENDLESS)) for prompt in prompts_of((2500, 40)))
    inference.is_open.set()
    for ticket in (writer, short, long):
        read(ticket)
    mixed = [call for call in inference.calls if 1 in call and max(call) > 1]
    assert len(mixed) > 10 and max(sum(call) for call in mixed) <= 256 + 8
    # the short prompt was through long before the long one, which was not left alone meanwhile
    done_short = next(
        place for place, call in enumerate(inference.calls) if sum(call[1:]) and call.count(1) >= 2
    )
    assert done_short < 8


def test_logprobs_are_those_of_generate_and_the_likeliest_are_in_order(
    engine_of: Callable[..., ContinuousEngine],
) -> None:
    inference = Inference(decoder(), compiled=True)
    engine = engine_of(inference)
    for options in (GREEDY, SAMPLED):
        answer = generate(inference, [PROMPTS[2]], options, ENDS, logprobs=True)[0]
        pieces = list(engine.submit(Ask(PROMPTS[2], options, ENDS, logprobs=True, top_logprobs=4)))
        assert [value for piece in pieces for value in piece.logprobs or []] == answer.logprobs
        for piece in pieces:
            assert piece.top is not None and piece.logprobs is not None
            (top,) = piece.top
            values = [value for _, value in top]
            assert len(top) == 4 and values == sorted(values, reverse=True)
            known = dict(top)
            assert piece.logprobs[0] == pytest.approx(known.get(piece.ids[0], piece.logprobs[0]), abs=1e-6)
    bare = list(engine.submit(Ask(PROMPTS[2], GREEDY, ENDS)))
    assert all(piece.logprobs is None and piece.top is None for piece in bare)


def test_presence_frequency_and_bias(engine_of: Callable[..., ContinuousEngine]) -> None:
    engine = engine_of(Inference(decoder(), compiled=True))
    options = SamplingOptions(max_new_tokens=30, temperature=0.0)
    (forced, _) = read(engine.submit(Ask([4], options, ENDLESS, logit_bias={11: 1e4})))
    assert forced == [11] * 30
    # every token costs more than the bias gains once it was written
    once, _ = read(engine.submit(Ask([4], options, ENDLESS, presence_penalty=1e4)))
    assert len(set(once)) == 30
    # 11 and 12 are ahead by 40 and 20: with a frequency penalty of 10 a time 11 comes twice before 12's turn
    both, _ = read(
        engine.submit(Ask([4], options, ENDLESS, logit_bias={11: 4000, 12: 2000}, frequency_penalty=1000))
    )
    assert both[:2] == [11, 11] and both.count(11) == both.count(12) + 2


class OnlyEven:
    """Allows even tokens, and ends with 7 after three."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def allowed(self) -> Tensor:
        mask = torch.zeros(64, dtype=torch.bool)
        mask[7 if len(self.taken) == 3 else slice(0, None, 2)] = True
        return mask

    def accept(self, token: int) -> None:
        self.taken.append(token)


def test_a_constraint_is_followed(engine_of: Callable[..., ContinuousEngine]) -> None:
    engine = engine_of()
    constraints = [OnlyEven() for _ in range(5)]
    tickets = [engine.submit(Ask([1, row], SAMPLED, ENDS, constraint=c)) for row, c in enumerate(constraints)]
    free = engine.submit(Ask(PROMPTS[3], GREEDY, ENDS))
    for ticket, constraint in zip(tickets, constraints, strict=True):
        ids, reason = read(ticket)
        assert ids == constraint.taken and reason == "stop" and ids[3:] == [7]
        assert all(token % 2 == 0 for token in ids[:3])
    assert read(free) == alone(engine.inference, Ask(PROMPTS[3], GREEDY, ENDS))


class Nothing(OnlyEven):
    def allowed(self) -> Tensor:
        return torch.zeros(64, dtype=torch.bool)


class Broken(OnlyEven):
    def accept(self, token: int) -> None:
        raise RuntimeError("no such token")


@pytest.mark.parametrize("broken", [Nothing, Broken])
def test_a_broken_constraint_or_stop_fails_its_own_request(
    engine_of: Callable[..., ContinuousEngine], broken: type[OnlyEven]
) -> None:
    engine = engine_of()

    def fails(ids: Ids) -> bool:
        raise KeyError("stop")

    bad = [
        engine.submit(Ask([1], GREEDY, ENDS, constraint=broken())),
        engine.submit(Ask([2], GREEDY, ENDS, stops=fails)),
    ]
    good = engine.submit(Ask(PROMPTS[3], GREEDY, ENDS))
    for ticket in bad:
        with pytest.raises(GenerationFailed):
            read(ticket)
        assert ticket.error is not None and ticket.error.__cause__ is not None
    assert read(good) == alone(engine.inference, Ask(PROMPTS[3], GREEDY, ENDS))
    assert engine.stats()["failed"] == 2 and engine.stats()["slots_free"] == 8


def test_an_error_of_the_model_fails_only_who_causes_it(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder())
    expected = [alone(inference, Ask(prompt, GREEDY, ENDS)) for prompt in PROMPTS[:5]]
    engine = engine_of(inference, slots=8)
    used = {token for ids in (*PROMPTS[:5], *(ids for ids, _ in expected)) for token in ids}
    inference.poison = poison = min(set(range(64)) - used)
    inference.is_open.clear()
    tickets = [engine.submit(Ask(prompt, GREEDY, ENDS)) for prompt in PROMPTS[:5]]
    bad = engine.submit(Ask([1, poison, 2], GREEDY, ENDS))
    inference.is_open.set()
    assert all_of(tickets) == expected
    with pytest.raises(GenerationFailed, match="bad token"):
        read(bad)
    assert engine.stats()["failed"] == 1 and engine.stats()["slots_free"] == 8
    inference.poison = -1
    assert read(engine.submit(Ask(PROMPTS[0], GREEDY, ENDS))) == expected[0]


@pytest.mark.parametrize("place", ["step", "start"])
def test_what_nobody_foresaw_ends_a_request_and_not_the_engine(
    place: str, engine_of: Callable[..., ContinuousEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(slots=2)
    with monkeypatch.context() as patched:
        patched.setattr(engine._scheduler, place, lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
        for _ in range(2):
            with pytest.raises(GenerationFailed, match="a bug"):
                read(engine.submit(Ask(PROMPTS[0], GREEDY, ENDS)))
    assert engine.stats()["slots_free"] == 2 and engine._thread.is_alive()
    assert read(engine.submit(Ask(PROMPTS[0], GREEDY, ENDS)))[1] in ("stop", "length")


def test_numbers_that_are_not_finite_are_an_error(engine_of: Callable[..., ContinuousEngine]) -> None:
    model = decoder(tied=False)
    with torch.no_grad():
        model.embedding.weight[50] = float("nan")
    engine = engine_of(Gate(model))
    with pytest.raises(GenerationFailed, match="not finite"):
        read(engine.submit(Ask([1, 50], GREEDY, ENDS)))
    assert read(engine.submit(Ask([1, 2], GREEDY, ENDS)))[1] in ("stop", "length")


def test_cancelled_within_a_step(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Slow(decoder())
    engine = engine_of(inference, slots=2)
    options = SamplingOptions(max_new_tokens=40, temperature=0.0)
    other = engine.submit(Ask([2], options, ENDLESS))
    ticket = engine.submit(Ask([1], options, ENDLESS))
    seen = [next(iter(ticket))]
    ticket.cancel()
    calls = len(inference.calls)
    rest = list(ticket)
    assert rest[-1].finish_reason == "cancelled" and len(rest) <= 4
    assert len(read(other)[0]) == 40
    assert sum(len(call) == 2 for call in inference.calls[calls:]) <= 2
    assert seen[0].ids and engine.stats()["cancelled"] == 1 and engine.stats()["slots_free"] == 2


def test_cancelled_while_waiting_and_after_the_end(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder())
    engine = engine_of(inference, slots=1)
    inference.is_open.clear()
    first, second, third = (engine.submit(Ask([n], GREEDY, ENDLESS)) for n in (1, 2, 4))
    second.cancel()
    inference.is_open.set()
    assert read(second) == ([], "cancelled")
    assert read(first)[1] == "length" and read(third)[1] == "length"
    first.cancel()
    assert read(engine.submit(Ask([1], GREEDY, ENDLESS)))[1] == "length"


def test_the_queue_is_bounded(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder())
    engine = engine_of(inference, slots=2, queue=3)
    inference.is_open.clear()
    tickets = [engine.submit(Ask([n + 1], GREEDY, ENDLESS)) for n in range(5)]
    with pytest.raises(QueueFull) as full:
        for _ in itertools.count():
            tickets.append(engine.submit(Ask([9], GREEDY, ENDLESS)))
            assert len(tickets) <= 7
    assert full.value.retry_after >= 1 and full.value.waiting >= 3
    inference.is_open.set()
    assert all(reason == "length" for _, reason in all_of(tickets))
    assert read(engine.submit(Ask([9], GREEDY, ENDLESS)))[1] == "length"


def test_clients_take_turns(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference, order = Gate(decoder()), []
    engine = engine_of(inference, slots=1)
    options = SamplingOptions(max_new_tokens=2, temperature=0.0)

    def finished(name: str) -> Callable[[Piece], None]:
        return lambda piece: order.append(name) if piece.finish_reason else None

    inference.is_open.clear()
    engine.submit(Ask([1], options, ENDLESS), finished("first"))
    while engine.stats()["running"] == 0:
        time.sleep(0.001)
    for _ in range(3):
        engine.submit(Ask([1], options, ENDLESS, client=Client("many")), finished("many"))
    engine.submit(Ask([1], options, ENDLESS, client=Client("one")), finished("one"))
    inference.is_open.set()
    while len(order) < 5:
        time.sleep(0.001)
    assert order == ["first", "many", "one", "many", "many"]


def test_close_drains_and_then_cancels(engine_of: Callable[..., ContinuousEngine]) -> None:
    options = SamplingOptions(max_new_tokens=30, temperature=0.0)
    engine = engine_of(Slow(decoder()), slots=1)
    tickets = [engine.submit(Ask([n + 1], options, ENDLESS)) for n in range(3)]
    engine.close(drain=20)
    assert [len(ids) for ids, _ in all_of(tickets)] == [30, 30, 30]
    with pytest.raises(EngineClosed):
        engine.submit(Ask([1], options, ENDLESS))
    engine = engine_of(Slow(decoder()), slots=1)
    tickets = [engine.submit(Ask([n + 1], options, ENDLESS)) for n in range(3)]
    next(iter(tickets[0]))
    engine.close(drain=0)
    assert [reason for _, reason in all_of(tickets)] == ["cancelled"] * 3
    assert not engine._thread.is_alive()


def test_a_listener_that_is_gone_ends_its_reply_only(engine_of: Callable[..., ContinuousEngine]) -> None:
    engine = engine_of(Slow(decoder()))

    def gone(piece: Piece) -> None:
        raise ConnectionError("closed")

    engine.submit(Ask([1], SamplingOptions(max_new_tokens=40, temperature=0.0), ENDLESS), gone)
    assert len(read(engine.submit(Ask([2], GREEDY, ENDLESS)))[0]) == 20
    while engine.stats()["running"]:
        time.sleep(0.001)
    assert engine.stats()["cancelled"] == 1


@pytest.mark.parametrize(
    "ask, word",
    [
        (Ask([], GREEDY, ENDLESS), "no tokens"),
        (Ask([1] * 48, GREEDY, ENDLESS), "no room"),
        (Ask([64], GREEDY, ENDLESS), "64 is not in the vocabulary"),
        (Ask([-1], GREEDY, ENDLESS), "-1 is not in the vocabulary"),
        (Ask([1], GREEDY, ENDLESS, logit_bias={99: 1.0}), "99 is not"),
        (Ask([1], GREEDY, ENDLESS, top_logprobs=-1), "top_logprobs=-1"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    engine_of: Callable[..., ContinuousEngine], ask: Ask, word: str
) -> None:
    with pytest.raises(UserError, match=word):
        engine_of().submit(ask)


def test_the_context_ends_a_reply_and_may_be_shorter(engine_of: Callable[..., ContinuousEngine]) -> None:
    options = SamplingOptions(max_new_tokens=100, temperature=0.0)
    assert len(read(engine_of().submit(Ask([1] * 40, options, ENDLESS)))[0]) == 8
    assert len(read(engine_of(context=20).submit(Ask([1] * 15, options, ENDLESS)))[0]) == 5


def test_many_clients_of_whom_a_third_leave(engine_of: Callable[..., ContinuousEngine]) -> None:
    inference = Gate(decoder(), "int8")
    engine = engine_of(inference, slots=4, queue=64)
    # beginnings are shared, also with what others wrote
    prompts = prompts_of([1 + 7 * n % 23 for n in range(48)], seed=9)
    asks = [Ask(prompt, SAMPLED, ENDLESS, row=row) for row, prompt in enumerate(prompts)]
    expected, failures = [alone(inference, ask) for ask in asks], []

    def client(row: int) -> None:
        ticket = engine.submit(asks[row])
        if row % 3:
            failures.extend([row] if read(ticket) != expected[row] else [])
        else:
            next(iter(ticket))
            ticket.cancel()

    threads = [threading.Thread(target=client, args=(row,)) for row in range(48)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    engine.close(drain=10)
    stats = engine.stats()
    assert not failures and stats["slots_free"] == 4 and stats["finished"] + stats["cancelled"] == 48
    # four caches of a context of 48, in tiles of 16, and no more
    assert stats["cache_bytes"] == 4 * inference.cache(1, 48).nbytes


@pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler")
def test_integers_are_the_default(engine_of: Callable[..., ContinuousEngine]) -> None:
    engine = engine_of(decoder())
    assert engine.inference.weights == "int8" and engine.inference.is_compiled
    assert read(engine.submit(Ask([1, 2], GREEDY, ENDS)))[1] in ("stop", "length")


@pytest.mark.parametrize("options, word", [({"slots": 0}, "slots=0"), ({"queue": -1}, "queue=-1")])
def test_sizes_that_make_no_sense_are_refused(
    engine_of: Callable[..., ContinuousEngine], options: dict[str, int], word: str
) -> None:
    with pytest.raises(UserError, match=word):
        engine_of(decoder(), **options)
