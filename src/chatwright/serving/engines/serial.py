"""An engine that writes one reply at a time: what other programs' models are put behind.

A subclass gives `write`; the queue, the end of a reply, cancelling and counting are here.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress

from chatwright.generation.continuous.contract import (
    Ask,
    EngineClosed,
    GenerationFailed,
    Piece,
    QueueFull,
    Ticket,
)
from chatwright.generation.continuous.waiting import RetryAfter, Waiting
from chatwright.serving.engines.contract import Ability

OnPiece = Callable[[Piece], None]
Emit = Callable[[int], bool]


class SerialEngine(ABC):
    """One thread, one reply at a time; those who wait take turns as everywhere."""

    abilities: frozenset[Ability] = frozenset()

    def __init__(self, context: int, vocab_size: int, queue: int) -> None:
        self.context, self.vocab_size, self.most = context, vocab_size, 1 + queue
        self._queue, self._waiting, self._retry_after = queue, Waiting(), RetryAfter()
        self._changed = threading.Condition()
        self._running: Ticket | None = None
        self._closed = False
        self._written, self._prompted = 0, 0
        self._thread = threading.Thread(target=self._work, name="serial engine", daemon=True)
        self._thread.start()

    @abstractmethod
    def write(self, ask: Ask, emit: Emit) -> None:
        """Write tokens after the prompt and give each to `emit`, until it returns False."""

    def submit(self, ask: Ask, on_piece: OnPiece) -> Ticket:
        """See `Engine.submit`."""
        ticket = Ticket(ask, on_piece, lambda: None)
        with self._changed:
            if self._closed:
                raise EngineClosed
            if len(self._waiting) >= self._queue + (self._running is None):
                raise QueueFull(len(self._waiting), self._retry_after.seconds(len(self._waiting)))
            self._waiting.add(ticket)
            self._changed.notify_all()
        return ticket

    @property
    def alive(self) -> bool:
        """See `Engine.alive`."""
        return self._thread.is_alive()

    def stats(self) -> Mapping[str, float]:
        """See `Engine.stats`."""
        with self._changed:
            return {
                "running": float(self._running is not None),
                "waiting": float(len(self._waiting)),
                "prefilled_tokens": float(self._prompted),
                "generated_tokens": float(self._written),
            }

    def close(self, drain: float) -> None:
        """See `Engine.close`."""
        ends = time.monotonic() + drain
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._running is None and not len(self._waiting), drain)
            for ticket in [*self._waiting, *filter(None, [self._running])]:
                ticket.cancel()
        self._thread.join(max(1.0, ends - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: len(self._waiting) or self._closed)
                if not len(self._waiting):
                    return
                ticket = self._running = self._waiting.next()
            begun = time.monotonic()
            self._answer(ticket)
            self._retry_after.heard(time.monotonic() - begun)

    def _answer(self, ticket: Ticket) -> None:
        """Write one reply; whoever does not listen any more ends it, and not the thread."""
        last = self._written_out(ticket)
        with suppress(Exception):
            ticket.deliver(last)

    def _written_out(self, ticket: Ticket) -> Piece:
        """Deliver all pieces of a reply but the last, which is returned.

        What `deliver` raises ends the reply as what the model raises does.
        """
        ask, ids = ticket.ask, list[int]()
        finish: list[Piece] = []
        room = min(ask.sampling.max_new_tokens, self.context - len(ask.prompt))

        def emit(token: int) -> bool:
            if ticket.is_cancelled:
                return False
            ids.append(token)
            ended = token in ask.vocabulary.end_ids or (ask.stops is not None and ask.stops(ids))
            if ended or len(ids) >= room:
                finish.append(Piece([token], finish_reason="stop" if ended else "length"))
                return False
            ticket.deliver(Piece([token]))
            return True

        try:
            if not ticket.is_cancelled:
                self._prompted += len(ask.prompt)
                self.write(ask, emit)
        except Exception as error:
            ticket.error = GenerationFailed(str(error))
            ticket.error.__cause__ = error
            return Piece([], finish_reason="error")
        finally:
            self._written += len(ids)
        return finish[0] if finish else Piece([], finish_reason="cancelled")
