"""The arena: which two meet, and how it is kept from the client who is who."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from chatwright.errors import UserError
from chatwright.serving.notes import note_of
from chatwright.serving.votes.records import Battle, Sampling, Side
from chatwright.serving.votes.store import VoteStore
from chatwright.serving.wire import DONE

# What one model is asked with when it meets itself: careful and free.
WAYS: tuple[Sampling, Sampling] = ({"temperature": 0.3}, {"temperature": 1.0})


class Draw:
    """Draws who meets and on which side; safe among threads. Without a seed nobody can foresee it."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.SystemRandom() if seed is None else random.Random(seed)
        self._lock = threading.Lock()

    def sides(
        self, models: Sequence[str], wanted: Sequence[str] = ()
    ) -> tuple[tuple[str, str], tuple[Sampling, Sampling]]:
        """The models and samplings of a and b: two of `wanted`, else two of `models`, or one model in two ways.

        Raises UserError where there is no model, or more than two are wanted.
        """
        if len(wanted) > 2:
            raise UserError(f"{len(wanted)} models are wanted and the arena has two sides; name one or two")
        known = list(dict.fromkeys(wanted or models))
        if not known:
            raise UserError("no model that is served here can chat; the arena needs one")
        with self._lock:
            if len(known) == 1:
                first, second = self._random.sample(WAYS, 2)
                return (known[0], known[0]), (first, second)
            one, other = self._random.sample(known, 2)
        return (one, other), ({}, {})


def ranks_of(winner: str) -> tuple[tuple[int, int], int]:
    """The ranks of a and b, and the value of the vote, for `a`, `b`, `tie` or `both_bad`."""
    ranks = {"a": (0, 1), "b": (1, 0)}.get(winner, (0, 0))
    return ranks, -1 if winner == "both_bad" else 0


class KeptReply(Response):
    """A side's streamed reply on its way to the client, kept in the battle before the client is told that it is whole.

    One that the client stopped is kept as far as it was written, one that failed is not.
    """

    def __init__(
        self, response: Response, request: Request, store: VoteStore, battle: Battle, side: Side
    ) -> None:
        self.background = None
        self._response, self._note = response, note_of(request)
        self._store, self._battle, self._side = store, battle, side

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = False

        async def sending(message: Message) -> None:
            nonlocal kept
            if message.get("body") == DONE:
                await asyncio.to_thread(self._keep)
                kept = True
            await send(message)

        try:
            await self._response(scope, receive, sending)
        finally:
            if not kept:
                # cancelled work can wait for nothing more
                self._keep()

    def _keep(self) -> None:
        if self._note.error is not None:
            return
        self._store.reply(self._battle.id, self._side, "".join(self._note.replied))
