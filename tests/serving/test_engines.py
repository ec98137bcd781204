"""Other programs' engines behind the contract, with modules that stand in for them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import Ask, Client, EngineClosed, Piece, QueueFull
from chatwright.generation.engine import Vocabulary
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel
from chatwright.serving.engines.contract import EngineOptions
from chatwright.serving.engines.llamacpp import LlamaCppEngine
from chatwright.serving.engines.openvino import OpenVinoEngine
from chatwright.serving.engines.serial import Emit, SerialEngine
from helpers.served import Places, eventually

WORDS = Vocabulary(frozenset({0}), frozenset({9}))


def ask(prompt: tuple[int, ...] = (1, 2), most: int = 8, **more: Any) -> Ask:
    sampling = SamplingOptions(max_new_tokens=most, temperature=0.5, seed=3)
    return Ask(prompt=prompt, sampling=sampling, vocabulary=WORDS, **more)


class Counting(SerialEngine):
    """Writes 3, 2, 1, 0 and waits for `go` before each."""

    def __init__(self, queue: int = 1) -> None:
        self.go = threading.Semaphore(0)
        self.free = False
        super().__init__(context=16, vocab_size=10, queue=queue)

    def write(self, ask: Ask, emit: Emit) -> None:
        if ask.prompt[0] == 7:
            raise ValueError("seven")
        for token in (3, 2, 1, 0, 5):
            if not self.free:
                self.go.acquire()
            if not emit(token):
                return


class Heard:
    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.done = threading.Event()

    def __call__(self, piece: Piece) -> None:
        self.pieces.append(piece)
        if piece.finish_reason is not None:
            self.done.set()

    @property
    def ids(self) -> list[int]:
        assert self.done.wait(5)
        return [token for piece in self.pieces for token in piece.ids]

    @property
    def finish(self) -> str | None:
        assert self.done.wait(5)
        return self.pieces[-1].finish_reason


def test_a_serial_engine_ends_replies_as_the_contract_says() -> None:
    engine = Counting(queue=8)
    engine.free = True
    heard = [Heard() for _ in range(5)]
    engine.submit(ask(), heard[0])
    engine.submit(ask(most=2), heard[1])
    engine.submit(ask(stops=lambda ids: ids[-1] == 1), heard[2])
    failed = engine.submit(ask((7,)), heard[3])
    engine.submit(ask(tuple(range(1, 7)) + (1,) * 7), heard[4])
    assert [one.ids for one in heard] == [[3, 2, 1, 0], [3, 2], [3, 2, 1], [], [3, 2, 1]]
    assert [one.finish for one in heard] == ["stop", "length", "stop", "error", "length"]
    assert isinstance(failed.error.__cause__, ValueError)  # type: ignore[union-attr]
    assert all(piece.finish_reason is None for one in heard for piece in one.pieces[:-1])
    assert eventually(lambda: engine.stats()["running"] == 0)
    assert engine.stats()["generated_tokens"] == 12
    engine.close(1)
    with pytest.raises(EngineClosed):
        engine.submit(ask(), Heard())


def test_a_serial_engine_s_queue_is_bounded_and_cancelling_frees_it() -> None:
    engine = Counting(queue=1)
    first, second = Heard(), Heard()
    running = engine.submit(ask(), first)
    assert eventually(lambda: engine.stats()["running"] == 1)
    waiting = engine.submit(ask(), second)
    with pytest.raises(QueueFull) as full:
        engine.submit(ask(), Heard())
    assert full.value.retry_after > 0
    waiting.cancel()
    engine.go.release()
    assert eventually(lambda: len(first.pieces) == 1)
    running.cancel()
    engine.go.release()
    assert first.finish == "cancelled" and first.ids == [3]
    assert second.finish == "cancelled" and second.ids == []
    engine.close(1)


def test_hosts_take_turns_at_a_serial_engine() -> None:
    engine, order = Counting(queue=8), list[str]()

    def heard(host: str) -> Callable[[Piece], None]:
        return lambda piece: order.append(host) if piece.finish_reason else None

    for host in ("a", "a", "a", "b"):
        engine.submit(ask(client=Client(host)), heard(host))
        assert eventually(lambda: engine.stats()["running"] == 1)
    engine.free = True
    engine.go.release()
    assert eventually(lambda: len(order) == 4)
    assert order == ["a", "a", "b", "a"], "the first was at work before the other came"
    engine.close(1)


def test_a_listener_that_is_gone_ends_its_reply_and_not_the_engine() -> None:
    engine, after = Counting(queue=8), Heard()
    engine.free = True

    def gone(piece: Piece) -> None:
        raise RuntimeError("nobody listens")

    engine.submit(ask(), gone)
    engine.submit(ask(), after)
    assert after.ids == [3, 2, 1, 0] and engine.alive
    engine.close(1)


def test_closing_waits_for_what_runs() -> None:
    engine = Counting()
    heard = Heard()
    engine.submit(ask(), heard)
    assert eventually(lambda: engine.stats()["running"] == 1)
    threading.Timer(0.1, lambda: [engine.go.release() for _ in range(5)]).start()
    engine.close(5)
    assert heard.finish == "stop"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    def make(name: str, **content: Any) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return make


class FakeLlama:
    """As `llama_cpp.Llama`: reads the file, samples the likeliest of what the processors leave."""

    def __init__(self, model_path: str, n_ctx: int, **more: Any) -> None:
        self.architecture = gguf.GGUFReader(model_path).fields["general.architecture"].contents()
        self.given, self.seeds = {"n_ctx": n_ctx, **more}, []

    def set_seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def generate(self, tokens: list[int], logits_processor: list[Any], **sampling: Any) -> Iterator[int]:
        self.sampling = sampling
        written = list(tokens)
        while True:
            scores = np.arange(10, dtype=np.float32)
            for process in logits_processor:
                scores = process(np.array(written), scores)
            written.append(int(scores.argmax()))
            yield written[-1]


class OnlyThenEnd:
    """A constraint: one token twice, then the end."""

    def __init__(self, token: int) -> None:
        self.left = [token, token, 0]

    def allowed(self) -> Any:
        import torch

        mask = torch.zeros(10, dtype=torch.bool)
        mask[self.left[0]] = True
        return mask

    def accept(self, token: int) -> None:
        assert token == self.left.pop(0)


def text_of(places: Places) -> TextModel:
    return TextModel.load(places.chat)


def test_llamacpp(places: Places, module: Callable[..., ModuleType]) -> None:
    module("llama_cpp", Llama=FakeLlama)
    engine = LlamaCppEngine(text_of(places), places.chat, EngineOptions(threads=1, context=100))
    fake = engine._llama
    assert fake.architecture == "qwen3" and engine.context == fake.given["n_ctx"] == 100
    heard = [Heard(), Heard(), Heard()]
    engine.submit(ask(most=3, row=1, frequency_penalty=0.5), heard[0])
    assert heard[0].ids == [8, 8, 8], "the banned token is the likeliest"
    assert fake.seeds == [4] and fake.sampling["temp"] == 0.5 and fake.sampling["frequency_penalty"] == 0.5
    engine.submit(ask(logit_bias={4: 100.0}, most=2), heard[1])
    assert heard[1].ids == [4, 4]
    engine.submit(ask(constraint=OnlyThenEnd(5)), heard[2])
    assert heard[2].ids == [5, 5, 0] and heard[2].finish == "stop"
    engine.close(1)


class FakePipeline:
    def __init__(self, path: str, device: str, **settings: Any) -> None:
        self.file, self.device, self.settings = Path(path), device, settings
        self.stopped = 0

    def generate(self, inputs: Any, config: Any, streamer: Any) -> None:
        self.inputs, self.config = inputs, config
        for token in (6, [5, 4], 0, 3):
            if streamer.write(token) == "stop":
                self.stopped += 1
                return


def test_openvino(places: Places, module: Callable[..., ModuleType]) -> None:
    module("openvino", Tensor=lambda array: array)
    module(
        "openvino_genai",
        LLMPipeline=FakePipeline,
        GenerationConfig=SimpleNamespace,
        TokenizedInputs=lambda ids, mask: (ids, mask),
        StreamerBase=object,
        StreamingStatus=SimpleNamespace(RUNNING="run", STOP="stop"),
    )
    engine = OpenVinoEngine(text_of(places), places.chat, EngineOptions(threads=2))
    fake = engine._pipeline
    assert fake.file.is_file() and fake.device == "CPU" and fake.settings == {"INFERENCE_NUM_THREADS": 2}
    heard = Heard()
    engine.submit(ask(), heard)
    assert heard.ids == [6, 5, 4, 0] and heard.finish == "stop" and eventually(lambda: fake.stopped == 1)
    assert (
        fake.inputs[0].tolist() == [[1, 2]] and fake.config.temperature == 0.5 and fake.config.rng_seed == 3
    )
    engine.close(1)
    assert not fake.file.exists()


@pytest.mark.parametrize(("engine", "extra"), [(LlamaCppEngine, "llamacpp"), (OpenVinoEngine, "openvino")])
def test_an_engine_that_is_not_installed_says_how_to(
    places: Places, monkeypatch: pytest.MonkeyPatch, engine: type, extra: str
) -> None:
    for name in ("llama_cpp", "openvino", "openvino_genai"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install chatwright\[{extra}\]"):
        engine(text_of(places), places.chat, EngineOptions())


def test_llamacpp_for_real(places: Places) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    text = text_of(places)
    engine = LlamaCppEngine(text, places.chat, EngineOptions(weights="float32", threads=1))
    prompt = text.chat_renderer().prompt([{"role": "user", "content": "hi"}]).tolist()
    greedy = SamplingOptions(max_new_tokens=12, temperature=0)
    heard = Heard()
    engine.submit(Ask(prompt=prompt, sampling=greedy, vocabulary=text.vocabulary), heard)
    assert heard.ids == text.generate([prompt], greedy)[0].ids
    engine.close(1)
