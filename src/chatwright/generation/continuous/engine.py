"""The engine: one thread that owns a model, and requests that come and go at every step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch

from chatwright.config import at_least
from chatwright.errors import UserError
from chatwright.generation.continuous.contract import (
    Ask,
    EngineClosed,
    Finish,
    GenerationFailed,
    Piece,
    QueueFull,
    Ticket,
)
from chatwright.generation.continuous.scheduler import Running, Scheduler
from chatwright.generation.continuous.waiting import RetryAfter, Waiting
from chatwright.generation.inference import Inference
from chatwright.generation.native import Weights
from chatwright.models.decoder import Decoder

_MOST_LIKELIEST = 100


class ContinuousEngine:
    """Answers requests together, each as if it were alone.

    slots: replies that are written at once; queue: requests that may wait beside them. weights: what the weights are kept
    as for decoding. threads: of the processor; None: what a short measurement finds fastest. context: the most tokens of
    a prompt and its reply; None: the model's. drafts: tokens that a reply may be guessed ahead, see `drafts`.
    """

    def __init__(
        self,
        model: Decoder | Inference,
        *,
        slots: int = 8,
        queue: int = 64,
        weights: Weights = "int8",
        threads: int | None = None,
        context: int | None = None,
        drafts: int = 8,
    ) -> None:
        sizes = SimpleNamespace(slots=slots, queue=queue, threads=threads or None, drafts=drafts)
        at_least(sizes, 1, "slots", "threads")
        at_least(sizes, 0, "queue", "drafts")
        inference = model if isinstance(model, Inference) else Inference(model, True, weights)
        self.context = min(context or inference.options.context, inference.options.context)
        self.inference, self.slots, self._queue_size = inference, slots, queue
        self._scheduler = Scheduler(inference, slots, self.context, drafts)
        self._waiting = Waiting()
        self._wake = threading.Condition()
        self._is_closing = self._is_stopping = False
        self._retry_after = RetryAfter()
        self._threads = threads
        self._thread = threading.Thread(target=self._loop, name="generation", daemon=True)
        self._thread.start()

    def submit(self, ask: Ask, on_piece: Callable[[Piece], None] | None = None) -> Ticket:
        """Take a request. Raises QueueFull, EngineClosed, and UserError for what cannot be answered."""
        self._check(ask)
        ticket = Ticket(ask, on_piece, self._notify)
        with self._wake:
            if self._is_closing:
                raise EngineClosed("the engine is closing")
            waiting = len(self._waiting)
            if waiting >= self._queue_size + self._scheduler.slots.free:
                raise QueueFull(waiting, self._retry_after.seconds(waiting, self.slots))
            self._waiting.add(ticket)
            self._wake.notify_all()
        return ticket

    def stats(self) -> dict[str, int]:
        """Counts by name: what runs and waits now, and what was done since the start."""
        scheduler = self._scheduler
        return {
            "slots": self.slots,
            "slots_free": scheduler.slots.free,
            "running": len(scheduler.running),
            "waiting": len(self._waiting),
            "cache_bytes": scheduler.slots.nbytes,
            **vars(scheduler.tally),
        }

    def close(self, drain: float = 0.0) -> None:
        """Take nothing more, give what runs and waits up to `drain` seconds to finish, cancel the rest, and stop."""
        end = time.monotonic() + drain
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
            self._wake.wait_for(self._is_idle, max(0.0, end - time.monotonic()))
            self._is_stopping = True
            self._wake.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check(self, ask: Ask) -> None:
        vocab_size, length = self.inference.options.vocab_size, len(ask.prompt)
        if length == 0:
            raise UserError("the prompt has no tokens; give it at least one")
        if length >= self.context:
            raise UserError(
                f"the prompt has {length:,} tokens and the context is {self.context:,}, "
                "which leaves no room for an answer; shorten it"
            )
        ids = (*ask.prompt, *ask.logit_bias)
        if min(ids) < 0 or max(ids) >= vocab_size:
            raise UserError(
                f"token {next(i for i in ids if not 0 <= i < vocab_size)} is not in the vocabulary"
            )
        if not 0 <= ask.top_logprobs <= _MOST_LIKELIEST:
            raise UserError(f"top_logprobs={ask.top_logprobs} must be from 0 to {_MOST_LIKELIEST}")

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _is_idle(self) -> bool:
        return not self._scheduler.running and not len(self._waiting)

    @torch.inference_mode()
    def _loop(self) -> None:
        self.inference.settle_threads(self._threads)
        while self._ready():
            try:
                self._turn()
            except Exception as error:
                # what nobody foresaw ends those who were in it, and not the engine with all who are to come
                self._fail(error)
        for one in list(self._scheduler.running):
            self._end(one, "cancelled")
        with self._wake:
            dropped = self._waiting.drop_all()
        for ticket in dropped:
            self._deliver(ticket, Piece([], finish_reason="cancelled"), None)

    def _turn(self) -> None:
        """One step: those who left go, those who waited come in, and every reply goes on by a token."""
        self._drop_cancelled()
        self._admit()
        if not self._scheduler.running:
            return
        for one, piece, error in self._scheduler.step():
            self._deliver(one.ticket, piece, error)
            if piece.finish_reason is not None:
                self._retry_after.heard(time.monotonic() - one.started)

    def _fail(self, error: Exception) -> None:
        """End with the error what runs, or where nothing runs what waits."""
        ended = [one.ticket for one in self._scheduler.running]
        for one in list(self._scheduler.running):
            self._scheduler.end(one, "error")
        if not ended:
            with self._wake:
                ended = list(self._waiting.drop_all())
        for ticket in ended:
            self._deliver(ticket, Piece([], finish_reason="error"), error)

    def _ready(self) -> bool:
        """Wait for work; false when there is to be no more."""
        with self._wake:
            if self._is_idle():
                self._wake.notify_all()
            self._wake.wait_for(lambda: self._is_stopping or not self._is_idle())
            return not self._is_stopping

    def _drop_cancelled(self) -> None:
        with self._wake:
            dropped = self._waiting.drop_cancelled()
        for ticket in dropped:
            self._scheduler.tally.cancelled += 1
            self._deliver(ticket, Piece([], finish_reason="cancelled"), None)
        for one in [one for one in self._scheduler.running if one.ticket.is_cancelled]:
            self._end(one, "cancelled")

    def _admit(self) -> None:
        while self._scheduler.slots.free:
            with self._wake:
                if not len(self._waiting):
                    return
                ticket = self._waiting.next()
            try:
                self._scheduler.start(ticket)
            except Exception as error:
                self._scheduler.tally.failed += 1
                self._deliver(ticket, Piece([], finish_reason="error"), error)

    def _end(self, one: Running, reason: Finish) -> None:
        self._scheduler.end(one, reason)
        self._deliver(one.ticket, Piece([], finish_reason=reason), None)

    def _deliver(self, ticket: Ticket, piece: Piece, error: BaseException | None) -> None:
        if error is not None:
            ticket.error = GenerationFailed(f"generation failed: {error}")
            ticket.error.__cause__ = error
        try:
            ticket.deliver(piece)
        except Exception:
            # whoever listens is gone
            ticket.is_cancelled = True
