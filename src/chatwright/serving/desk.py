"""Work that is done whole and not token by token (vectors, translations, scores): one piece at a time, in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from chatwright.generation.continuous.contract import EngineClosed, QueueFull
from chatwright.generation.continuous.waiting import RetryAfter
from chatwright.serving.errors import ApiError

T = TypeVar("T")
_LOOK_SECONDS = 0.02


class Desk:
    """One thread for one model. Requests come in small jobs, so that a long one lets short ones pass between them, and
    ends within one job when its client leaves."""

    def __init__(self, queue: int) -> None:
        self._queue, self._present, self._retry_after = queue, 0, RetryAfter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._closed = False

    @property
    def present(self) -> int:
        """Requests that are here now, the one at work included."""
        return self._present

    @asynccontextmanager
    async def place(self, seconds: float) -> AsyncIterator[None]:
        """A place in the queue for one request, for some seconds. Raises QueueFull, EngineClosed, or ApiError 504."""
        if self._closed:
            raise EngineClosed
        if self._present > self._queue:
            waiting = self._present - 1
            raise QueueFull(waiting, self._retry_after.seconds(waiting))
        self._present += 1
        begun = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            message = f"the answer was not ready within {seconds:g} s; send less at once"
            raise ApiError(504, message, code="timeout") from None
        finally:
            self._present -= 1
            self._retry_after.heard(time.monotonic() - begun)

    async def run(self, job: Callable[[], T]) -> T:
        """What the job gives, done in the desk's thread when its turn comes. A job that waits can be cancelled."""
        try:
            future = self._thread.submit(job)
        except RuntimeError:
            # the thread takes nothing more
            raise EngineClosed from None
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise EngineClosed from None

    def close(self, drain: float = 0.0) -> None:
        """Take nothing more, give who is here up to `drain` seconds; then the job at work ends, and no other begins."""
        ends = time.monotonic() + drain
        self._closed = True
        while self._present and time.monotonic() < ends:
            time.sleep(_LOOK_SECONDS)
        self._thread.shutdown(wait=True, cancel_futures=True)


def parts(items: list[T], size: int) -> Iterator[list[T]]:
    """Neighbouring items, at most `size` together."""
    return (items[start : start + size] for start in range(0, len(items), size))
