"""Votes, and servers that take them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from chatwright.serving.app import Part, build_app
from chatwright.serving.models import Served, find_runs
from chatwright.serving.options import ServerOptions
from chatwright.serving.server import Server, listening_socket
from chatwright.serving.votes.part import part
from chatwright.serving.votes.records import Vote
from chatwright.serving.votes.routes import VoteOptions
from chatwright.serving.votes.store import VoteStore

HOSTILE = (
    "Robert'); DROP TABLE votes;--",
    '" OR 1=1 --',
    "nul \x00 and \x1b[31m",
    "%s {0} :name ? $1 \\",
    "lone \ud800 surrogate",
    "🙂 中文\u2028\u202e",
    "<img src=x onerror=alert(1)></script>",
)


def asked(text: str = "What is 1?") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def thumb(value: int = 1, reply: str = "One.", model: str = "chat", **more: Any) -> Vote:
    return Vote("thumb", asked(more.pop("text", "What is 1?")), [reply], [model], [{}], value=value, **more)


def arena(
    ranks: Sequence[int] = (0, 1),
    models: Sequence[str] = ("x", "y"),
    replies: Sequence[str] = ("good", "bad"),
    **more: Any,
) -> Vote:
    samplings = more.pop("samplings", [{}] * len(models))
    text = more.pop("text", "What is 1?")
    kind = more.pop("kind", "arena")
    return Vote(kind, asked(text), replies, models, samplings, ranks=ranks, **more)


@contextmanager
def voting(
    places: Sequence[Path],
    store: VoteStore,
    parts: Sequence[Part] = (),
    api_key: str | None = None,
    max_tokens: int | None = None,
    **options: Any,
) -> Iterator[httpx.Client]:
    """A client of a server with the scripted engine, some models and votes."""
    chosen = ServerOptions(engine="scripted", port=0, drain=2.0, api_key=api_key, max_tokens=max_tokens)
    served = Served(find_runs(places), chosen)
    ready = threading.Event()
    app = build_app(
        served, chosen, [part(store, served, VoteOptions(**options)), *parts], log=lambda line: None
    )
    with listening_socket(chosen.host, 0) as socket:
        server = Server(app, chosen, on_ready=ready.set)
        thread = threading.Thread(target=server.serve_on, args=(socket,))
        thread.start()
        try:
            assert ready.wait(60), served.failure
            address = f"http://127.0.0.1:{socket.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=30) as client:
                yield client
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()
