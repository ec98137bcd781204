"""What goes into the continuous engine and what comes out of it.

Shape suffix: V vocabulary.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from chatwright.generation.engine import Ids, Vocabulary
from chatwright.generation.sampling import SamplingOptions

Finish = Literal["stop", "length", "cancelled", "error"]


class QueueFull(Exception):
    """As many requests wait as may; `retry_after` is the number of seconds after which to try again."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests wait already; try again in {retry_after:.0f} s")
        self.waiting, self.retry_after = waiting, retry_after


class EngineClosed(Exception):
    """The engine takes no more requests."""


class GenerationFailed(Exception):
    """The model, or the request's own constraint or stop, failed while this request ran; see its `__cause__`."""


class Client(NamedTuple):
    """Whoever asks: a host, and of the users that it speaks for one."""

    host: str = ""
    user: str = ""


class Constraint(Protocol):
    """A grammar that a reply follows. Made anew for each request; called in the engine's thread alone."""

    def allowed(self) -> Tensor | None:
        """Which tokens may come next, bool [V]; None where all may. Where the reply may end, end tokens are among them."""

    def accept(self, token: int) -> None:
        """Take the token that was chosen, an end token too."""


@dataclass(frozen=True)
class Ask:
    """One request.

    `sampling.stop` is not looked at: texts are the caller's, through `stops`, which hears the ids written so far after
    each token, in the engine's thread, and ends the reply with "stop"; the token that ended it is in the ids.
    `row`: with one seed, replies of different rows differ (`n` of one request). Penalties of presence and frequency are
    taken from the logits of tokens written in this reply: once, and for each time. `logit_bias` is added to logits.
    `client`: whoever asks; those who wait take turns by it, see `waiting`.
    """

    prompt: Ids
    sampling: SamplingOptions
    vocabulary: Vocabulary
    logprobs: bool = False
    top_logprobs: int = 0
    constraint: Constraint | None = None
    stops: Callable[[Ids], bool] | None = None
    row: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    client: Client = Client()


@dataclass(frozen=True)
class Piece:
    """The next tokens of a reply; the last piece, and it alone, has a finish reason, and may have no ids.

    `logprobs` are those of `ids` under the full distribution at the sampling temperature (1 when greedy), before any
    truncation, penalty, bias or ban; None where not asked for. `top`: for each id the likeliest (token, logprob).
    """

    ids: list[int]
    logprobs: list[float] | None = None
    top: list[list[tuple[int, float]]] | None = None
    finish_reason: Finish | None = None


class Ticket:
    """A request on its way. Iterate for the pieces, once: it blocks, and raises GenerationFailed after an "error" piece.

    With `on_piece` given to `submit` the pieces go there, in the engine's thread, and there is nothing to iterate.
    `reused_tokens`: of the prompt, those whose keys and values were there already; known from the first piece on.
    """

    def __init__(self, ask: Ask, on_piece: Callable[[Piece], None] | None, wake: Callable[[], None]) -> None:
        self.ask, self.prompt_tokens, self.reused_tokens = ask, len(ask.prompt), 0
        self.error: GenerationFailed | None = None
        self.is_cancelled = False
        self._pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        self._deliver = on_piece or self._pieces.put
        self._wake = wake

    def cancel(self) -> None:
        """End the reply at the next step; what was written by then is delivered. From any thread, at any time."""
        self.is_cancelled = True
        self._wake()

    def deliver(self, piece: Piece) -> None:
        """The engine's part."""
        self._deliver(piece)

    def __iter__(self) -> Iterator[Piece]:
        reason: Finish | None = None
        while reason is None:
            piece = self._pieces.get()
            reason = piece.finish_reason
            yield piece
        if self.error is not None:
            raise self.error
