"""The application on a socket: loading beside it, and an orderly end."""

from __future__ import annotations

import asyncio
import math
import socket as sockets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from chatwright.errors import UserError
from chatwright.serving.models import Served
from chatwright.serving.options import ServerOptions

_BACKLOG = 512
# After `drain` replies are cut off in order; this is for what hangs even then.
_GRACE_SECONDS = 5
_LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """uvicorn, which loads the models when it listens, and lets what runs go on for `drain` seconds when it is stopped.

    `on_ready` is called, in another thread, when every model is loaded.
    """

    def __init__(
        self, app: Starlette, options: ServerOptions, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=math.ceil(options.drain) + _GRACE_SECONDS,
        )
        super().__init__(config)
        self._served: Served = app.state.served
        self._drain = options.drain
        self._on_ready = on_ready
        self._loading = threading.Thread(target=self._load, name="loading", daemon=True)

    def serve_on(self, socket: sockets.socket) -> None:
        """Serve until stopped; returns when every connection is closed."""
        self._loading.start()
        asyncio.run(self.serve([socket]))
        if not self.force_exit:
            # a thread in native code when the interpreter ends would abort the process
            self._loading.join()

    async def shutdown(self, sockets: list[sockets.socket] | None = None) -> None:
        """End what runs by closing the models, while the connections still carry what is said last."""
        # no thread of the loop's own, whose end it would wait for after a second signal
        closing = threading.Thread(
            target=self._served.close, args=(self._drain,), name="closing", daemon=True
        )
        closing.start()
        # until then the socket listens, and says that nothing new is taken
        while closing.is_alive() and not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: take nothing new, end what runs; a second one ends at once."""
        self.stop()

    def stop(self) -> None:
        """As a signal does; may be called from any thread."""
        self._served.draining = True
        self.force_exit = self.should_exit
        self.should_exit = True

    def _load(self) -> None:
        try:
            self._served.load()
        except Exception:
            # whoever started the server finds it in `served.failure`
            self.should_exit = True
            return
        if not self._served.draining:
            self._on_ready()


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[sockets.socket]:
    """A socket that listens; raises UserError where that cannot be."""
    try:
        family, kind, protocol, _, address = sockets.getaddrinfo(
            host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        )[0]
    except sockets.gaierror as error:
        raise UserError(f"host={host} is no address of this machine: {error.strerror}") from None
    with sockets.socket(family, kind, protocol) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            socket.bind(address)
        except OSError as error:
            raise UserError(
                f"cannot listen at {host}:{port}: {error.strerror}; choose another port or host"
            ) from None
        socket.listen(_BACKLOG)
        yield socket
