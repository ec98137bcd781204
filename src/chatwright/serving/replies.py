"""Replies on their way: from the engine's pieces, which come in its thread, to text in the server's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from chatwright.generation.continuous.contract import Ask, EngineClosed, GenerationFailed, Piece, Ticket
from chatwright.generation.stopping import TextWriter
from chatwright.serving.errors import ApiError
from chatwright.serving.models import Writer
from chatwright.serving.notes import Note
from chatwright.tokenization.stream import Utf8Stream
from chatwright.tokenization.tokenizer import Tokenizer

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class Scored:
    """A token with its log-probability, and the likeliest ones in its place. `start`: the character of the reply that it
    begins, or goes on with."""

    start: int
    token: int
    logprob: float
    top: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Part:
    """What a step adds to one of the replies; `finish` stands on the last part of each, and there alone."""

    choice: int
    text: str
    scores: Sequence[Scored] = ()
    finish: Finish | None = None


class _Choice:
    """One reply: whole characters up to a stop string, and the scores of the tokens that are shown."""

    def __init__(self, number: int, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self.number = number
        self._writer = TextWriter(tokenizer, stops)
        self._characters = Utf8Stream(tokenizer)
        self._held: list[Scored] = []
        self._read = self._shown = 0
        self.tokens, self.finish = 0, ""

    def take(self, piece: Piece) -> Part:
        """The part that a piece of the engine makes sure."""
        text = []
        for place, token in enumerate(piece.ids):
            text.append(self._writer.feed(token))
            if piece.logprobs is not None:
                top = piece.top[place] if piece.top is not None else []
                self._held.append(Scored(self._read, token, piece.logprobs[place], top))
                self._read += len(self._characters.feed(token))
        self.tokens += len(piece.ids)
        if piece.finish_reason is not None:
            self.finish = piece.finish_reason
            text.append(self._writer.flush())
        said = "".join(text)
        self._shown += len(said)
        finish: Finish | None = None if piece.finish_reason is None else _reason(piece)
        return Part(self.number, said, self._released(), finish)

    def _released(self) -> list[Scored]:
        """The scores of tokens whose text begins before the end of what is shown; of a stop string there are none."""
        ready = [scored for scored in self._held if scored.start < self._shown]
        self._held = self._held[len(ready) :]
        return ready


def _reason(piece: Piece) -> Finish:
    return "stop" if piece.finish_reason == "stop" else "length"


class Replies:
    """The replies to one request; `parts` gives them as they are written, in one stream."""

    def __init__(
        self, writer: Writer, asks: Sequence[Ask], stops: Sequence[str], note: Note, seconds: float
    ) -> None:
        """`asks` differ in their prompts or rows; `seconds` is what they may take together."""
        tokenizer = writer.tokenizer
        self._engine, self._note, self._seconds = writer.engine, note, seconds
        self._asks = [replace(ask, stops=_stopper(tokenizer, stops) if stops else None) for ask in asks]
        self._choices = [_Choice(number, tokenizer, stops) for number in range(len(asks))]
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        self._tickets: list[Ticket] = []

    def submit(self) -> None:
        """Hand every ask to the engine, or none: QueueFull and EngineClosed take back what was handed over."""
        self._ends = time.monotonic() + self._seconds
        loop = asyncio.get_running_loop()
        try:
            for number, ask in enumerate(self._asks):
                self._tickets.append(self._engine.submit(ask, self._hears(loop, number)))
        except BaseException:
            self.cancel()
            raise

    def _hears(self, loop: asyncio.AbstractEventLoop, number: int) -> Callable[[Piece], None]:
        def hear(piece: Piece) -> None:
            # the loop may be closed under the engine's last words
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._pieces.put_nowait, (number, piece))

        return hear

    async def parts(self) -> AsyncGenerator[Part]:
        """The parts of all replies as they come. However it ends, no reply goes on behind it."""
        left = len(self._choices)
        try:
            while left:
                number, piece = await self._next()
                if piece.finish_reason == "error":
                    raise self._tickets[number].error or GenerationFailed()
                if piece.finish_reason == "cancelled":
                    raise EngineClosed
                part = self._choices[number].take(piece)
                if piece.ids:
                    self._note.first_token()
                left -= part.finish is not None
                if part.text or part.scores or part.finish:
                    yield part
        finally:
            self.cancel()
            self._write_down()

    async def _next(self) -> tuple[int, Piece]:
        try:
            return await asyncio.wait_for(self._pieces.get(), self._ends - time.monotonic())
        except TimeoutError:
            message = f"the reply was not written within {self._seconds:g} s; ask for fewer max_tokens"
            raise ApiError(504, message, code="timeout") from None

    def cancel(self) -> None:
        """Stop what is still being written; its slot is free within one step."""
        for ticket, choice in zip(self._tickets, self._choices, strict=False):
            if not choice.finish:
                ticket.cancel()

    def _write_down(self) -> None:
        note = self._note
        note.prompt_tokens, note.cached_tokens = self.prompt_tokens, self.cached_tokens
        note.completion_tokens = self.completion_tokens
        note.finishes = [choice.finish or "cancelled" for choice in self._choices]

    @property
    def prompt_tokens(self) -> int:
        """Of each different prompt once: `n` replies share theirs."""
        prompts = {id(ask.prompt): len(ask.prompt) for ask in self._asks}
        return sum(prompts.values())

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompts that stood in the cache before this request."""
        first: dict[int, int] = {}
        for ask, ticket in zip(self._asks, self._tickets, strict=False):
            first.setdefault(id(ask.prompt), ticket.reused_tokens)
        return sum(first.values())

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self._choices)

    @property
    def usage(self) -> dict[str, object]:
        """As OpenAI counts."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


def _stopper(tokenizer: Tokenizer, stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """What the engine asks after each token: whether a stop string is whole."""
    writer = TextWriter(tokenizer, stops)

    def stops_here(ids: Sequence[int]) -> bool:
        writer.feed(ids[-1])
        return writer.stopped

    return stops_here
