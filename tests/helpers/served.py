"""Servers for tests: tiny models on disk, an engine whose replies are known, and a real uvicorn in a thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from chatwright.generation.continuous.contract import (
    Ask,
    EngineClosed,
    GenerationFailed,
    Piece,
    QueueFull,
    Ticket,
)
from chatwright.generation.text import TextModel
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.encoder import EncoderOptions
from chatwright.models.encoder_decoder import EncoderDecoderOptions
from chatwright.models.interop.files import (
    WEIGHTS,
    EndTokens,
    empty_root,
    write_config,
    write_reward_config,
)
from chatwright.models.interop.weights import public_weights
from chatwright.models.scored import ScoredDecoder
from chatwright.serving.app import Part, build_app
from chatwright.serving.engines.contract import ABILITIES, EngineOptions
from chatwright.serving.models import Served, find_runs
from chatwright.serving.options import ServerOptions
from chatwright.serving.server import Server, listening_socket
from chatwright.tokenization.template import CHAT_TEMPLATE
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer
from helpers.weights import stirred

GREETING = "Hello 你好 🙂 world"
TEXTS = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on. ",
    "你好，世界！今天的天气很好，我们去公园散步吧。",
    'What does itertools.chain do? {"name": "weather", "arguments": {"city": "Paris"}} ',
)
TOOL_TEMPLATE = """\
{%- if tools %}{{- '<|im_start|>system\\nTools: ' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- '\\nWrite <tool_call>{"name": …, "arguments": …}</tool_call>.<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>' + (call.function | tojson) + '</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
CONTEXT = 512


@dataclass
class Places:
    """The folders of tiny models, by what they do."""

    folder: Path
    chat: Path = field(init=False)
    tools: Path = field(init=False)
    base: Path = field(init=False)
    judge: Path = field(init=False)
    vectors: Path = field(init=False)
    translator: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("chat", "tools", "base", "judge", "vectors", "translator"):
            place = self.folder / name
            place.mkdir(parents=True)
            setattr(self, name, place)

    @property
    def all(self) -> list[Path]:
        return [self.chat, self.tools, self.base, self.judge, self.vectors, self.translator]


def make_places(folder: Path) -> Places:
    """Write every model: random weights, a tokenizer of a few lines."""
    places = Places(folder)
    tokenizer = Tokenizer(train_tokenizer([text * 40 for text in TEXTS], TokenizerOptions(vocab_size=480)))
    size = tokenizer.vocab_size
    small: dict[str, Any] = {"vocab_size": size, "width": 32, "heads": 2, "feed_forward": 48}
    shape = DecoderOptions(**small, layers=2, kv_heads=1, head_dim=16, context=CONTEXT)
    ends = EndTokens(tokenizer.endoftext, [tokenizer.im_end, tokenizer.endoftext], tokenizer.pad)
    for place, template in (
        (places.chat, CHAT_TEMPLATE),
        (places.tools, TOOL_TEMPLATE),
        (places.base, CHAT_TEMPLATE),
    ):
        tokenizer.save(place, eos=None if place is places.base else "<|im_end|>", template=template)
        write_config(place, shape, ends)
        save_file(public_weights(stirred(Decoder(shape))), place / WEIGHTS, {"format": "pt"})
    judge = stirred(ScoredDecoder(shape))
    tokenizer.save(places.judge, eos="<|im_end|>")
    write_reward_config(places.judge, judge, ends)
    save_file(public_weights(judge), places.judge / WEIGHTS, {"format": "pt"})
    for place, options in (
        (places.vectors, EncoderOptions(**small, layers=1, context=64)),
        (places.translator, EncoderDecoderOptions(**small, encoder_layers=1, decoder_layers=1, context=64)),
    ):
        tokenizer.save(place)
        write_config(place, options, ends)
        model = stirred(empty_root(options, torch.device("cpu")))
        save_file(public_weights(model), place / WEIGHTS, {"format": "pt"})
    return places


@dataclass
class Script:
    """What the engine of tests does, for all of its models."""

    reply: Callable[[str], str] = lambda asked: GREETING
    pause: float = 0.0
    prefill: float = 0.0
    running: int = 0
    most_running: int = 0
    written: int = 0
    cancelled: int = 0
    prompts: list[str] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)

    def reset(self) -> None:
        self.__dict__.update(Script().__dict__)


SCRIPT = Script()


class ScriptedTicket(Ticket):
    def __init__(self, ask: Ask, on_piece: Callable[[Piece], None]) -> None:
        self.left = threading.Event()
        super().__init__(ask, on_piece, self.left.set)
        self.reused_tokens = len(ask.prompt) // 2


class ScriptedEngine:
    """Writes what `SCRIPT.reply` says to the prompt, a token every `pause` seconds; under a constraint what it allows."""

    abilities = ABILITIES
    alive = True

    def __init__(self, text: TextModel, directory: Path, options: EngineOptions) -> None:
        self._text, self._options = text, options
        self.most = options.slots + options.queue
        self._tickets: list[ScriptedTicket] = []
        self.context, self.vocab_size = text.model.options.context, text.model.options.vocab_size
        self._slots = threading.Semaphore(options.slots)
        self._lock, self._present, self._closed = threading.Lock(), 0, False

    def submit(self, ask: Ask, on_piece: Callable[[Piece], None]) -> ScriptedTicket:
        with self._lock:
            if self._closed:
                raise EngineClosed
            if self._present >= self._options.slots + self._options.queue:
                raise QueueFull(self._present, 1.5)
            self._present += 1
        ticket = ScriptedTicket(ask, on_piece)
        self._tickets.append(ticket)
        SCRIPT.asks.append(ask)
        threading.Thread(target=self._run, args=(ask, on_piece, ticket), daemon=True).start()
        return ticket

    def stats(self) -> Mapping[str, float]:
        return {"running": float(SCRIPT.running), "waiting": 0.0}

    def close(self, drain: float) -> None:
        self._closed = True
        if not eventually(lambda: self._present == 0, drain):
            for ticket in self._tickets:
                ticket.cancel()
            eventually(lambda: self._present == 0, 1.0)

    def _run(self, ask: Ask, on_piece: Callable[[Piece], None], ticket: ScriptedTicket) -> None:
        with self._slots:
            SCRIPT.running += 1
            SCRIPT.most_running = max(SCRIPT.most_running, SCRIPT.running)
            try:
                last = self._write(ask, on_piece, ticket)
            except Exception as error:
                ticket.error = GenerationFailed(str(error))
                ticket.error.__cause__ = error
                last = Piece([], finish_reason="error")
            SCRIPT.running -= 1
        with self._lock:
            self._present -= 1
        SCRIPT.cancelled += last.finish_reason == "cancelled"
        on_piece(last)

    def _write(self, ask: Ask, on_piece: Callable[[Piece], None], ticket: ScriptedTicket) -> Piece:
        asked = self._text.tokenizer.decode(ask.prompt, skip_special=False)
        SCRIPT.prompts.append(asked)
        ticket.left.wait(SCRIPT.prefill)
        ids: list[int] = []
        for token in self._tokens(ask, asked):
            if ticket.left.wait(SCRIPT.pause) if SCRIPT.pause else ticket.left.is_set():
                return Piece([], finish_reason="cancelled")
            ids.append(token)
            SCRIPT.written += 1
            ended = token in ask.vocabulary.end_ids or (ask.stops is not None and ask.stops(ids))
            finish = "stop" if ended else "length" if len(ids) == ask.sampling.max_new_tokens else None
            scores = [-0.5] if ask.logprobs else None
            top = [[(token + place, -0.5 - place) for place in range(ask.top_logprobs)]] if scores else None
            piece = Piece([token], scores, top, finish)  # type: ignore[arg-type]
            if finish:
                return piece
            on_piece(piece)
        raise AssertionError("the script ended without an end")

    def _tokens(self, ask: Ask, asked: str) -> Iterator[int]:
        if ask.constraint is None:
            yield from self._text.tokenizer.encode(SCRIPT.reply(asked))
            yield min(ask.vocabulary.end_ids)
        generator = torch.Generator().manual_seed((ask.sampling.seed or 0) + ask.row)
        while ask.constraint is not None:
            allowed = ask.constraint.allowed()
            assert allowed is not None
            free = [
                token for token in allowed.nonzero().flatten().tolist() if token not in ask.vocabulary.banned
            ]
            token = free[int(torch.randint(len(free), (1,), generator=generator))]
            ask.constraint.accept(token)
            yield token


@dataclass
class Running:
    """A server that runs in a thread of this process."""

    address: str
    server: Server
    served: Served
    options: ServerOptions
    log: list[str]

    @property
    def v1(self) -> str:
        return f"{self.address}/v1"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log]


@contextmanager
def running(
    places: Sequence[Path], engine: str = "scripted", parts: Sequence[Part] = (), **options: Any
) -> Iterator[Running]:
    """Serve some models on a free port until the block ends."""
    chosen = ServerOptions(engine=engine, port=0, **{"drain": 2.0, **options})
    served = Served(find_runs(places), chosen)
    log: list[str] = []
    ready = threading.Event()
    app = build_app(served, chosen, parts, log=log.append)
    with listening_socket(chosen.host, 0) as socket:
        server = Server(app, chosen, on_ready=ready.set)
        thread = threading.Thread(target=server.serve_on, args=(socket,))
        thread.start()
        try:
            assert ready.wait(60), served.failure
            yield Running(f"http://127.0.0.1:{socket.getsockname()[1]}", server, served, chosen, log)
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something becomes true within some seconds."""
    ends = time.monotonic() + seconds
    while not holds() and time.monotonic() < ends:
        time.sleep(0.005)
    return holds()


def chat_body(text: str = "hi", model: str = "chat", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
