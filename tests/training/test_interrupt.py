"""The first signal asks, the second insists; handlers are put back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from chatwright.training.interrupt import stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_is_noted_and_the_second_stops(number: int) -> None:
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert not stop.wanted
        os.kill(os.getpid(), number)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_thread_that_may_not_listen_still_works() -> None:
    seen: list[bool] = []

    def listen() -> None:
        with stop_requests() as stop:
            seen.append(stop.wanted)

    worker = threading.Thread(target=listen)
    worker.start()
    worker.join()
    assert seen == [False]
