"""What every route that writes text shares: how an answer begins, and how a stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request

from chatwright.serving.errors import refusal
from chatwright.serving.models import ServedModel, Writer
from chatwright.serving.notes import Note, note_of, where
from chatwright.serving.openai.asking import Asked, stops_of
from chatwright.serving.replies import Replies
from chatwright.serving.wire import DONE, event

P = TypeVar("P", bound=Asked)


async def begun(
    request: Request,
    model: ServedModel,
    body: Mapping[str, Any],
    said: Any,
    plan: Callable[[Request, Mapping[str, Any], Writer], P],
) -> tuple[P, Replies]:
    """What `plan` makes of a checked body, in a thread, and its replies, which the engine has been asked for. `said` is
    what the log holds where it may hold texts."""
    writer, options, note = model.writer, request.app.state.options, note_of(request)
    assert writer is not None, "a model that is asked for text has a writer"
    note.model = model.id
    if options.log_text:
        note.asked = said
    planned = await asyncio.to_thread(plan, request, body, writer)
    replies = Replies(writer, planned.asks, stops_of(body), note, options.timeout)
    replies.submit()
    return planned, replies


async def streamed(events: AsyncGenerator[bytes], replies: Replies, note: Note) -> AsyncIterator[bytes]:
    """The events of a stream, what went wrong, for its status has been sent long ago, and the end of all. However it
    ends, no reply goes on behind it."""
    try:
        async with aclosing(events):
            async for one in events:
                yield one
    except Exception as error:
        refused = refusal(error)
        note.error = where(error) if refused.status >= 500 else refused.code
        yield event(refused.body)
    finally:
        replies.cancel()
    yield DONE
