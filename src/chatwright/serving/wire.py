"""JSON and server-sent events on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")
_EVENT_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
# a comment, which clients skip, so that nothing between the two ends takes the silence for death
_KEEP_ALIVE = b": keep-alive\n\n"


class Json(Response):
    """A value as UTF-8 JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def event(value: Any) -> bytes:
    """A value as one server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """Events as they come, with a comment after every `pause` seconds of silence.

    The source is closed at once when the client leaves, wherever it waits.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], pause: float) -> None:
        self.status_code, self.background = 200, None
        self.body = b""
        self.init_headers(_EVENT_HEADERS)
        self.raw_headers = [(key, value) for key, value in self.raw_headers if key != b"content-length"]
        self._events, self._pause = events, pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await while_connected(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        waiting: asyncio.Task[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._events))
                done, _ = await asyncio.wait({waiting}, timeout=self._pause)
                if not done:
                    await send(_chunk(_KEEP_ALIVE))
                    continue
                try:
                    piece = waiting.result()
                except StopAsyncIteration:
                    break
                waiting = None
                await send(_chunk(piece))
        finally:
            if waiting is not None and not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()
        await send(_chunk(b"", more=False))


def _chunk(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled the moment the client leaves; then ClientDisconnect is raised.

    The request's body must have been read.
    """
    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientDisconnect
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.wait({doing, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
