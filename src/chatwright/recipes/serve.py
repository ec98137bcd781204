"""`serve`: runs behind the interface that OpenAI's clients speak, with a web page, votes and documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatwright.progress import say
from chatwright.recipes.verb import Place, verb
from chatwright.registry import lookup
from chatwright.serving.app import build_app
from chatwright.serving.documents.library import DocumentOptions
from chatwright.serving.documents.part import open_part as open_documents
from chatwright.serving.models import Served, find_runs
from chatwright.serving.options import ServerOptions
from chatwright.serving.server import Server, listening_socket
from chatwright.serving.votes.part import open_part as open_votes
from chatwright.serving.votes.routes import VoteOptions

_KEY = "CHATWRIGHT_API_KEY"


@dataclass(frozen=True)
class ServeOptions(DocumentOptions, VoteOptions, ServerOptions):
    """How runs are served."""

    def __post_init__(self) -> None:
        ServerOptions.__post_init__(self)
        VoteOptions.__post_init__(self)
        DocumentOptions.__post_init__(self)


@verb(ServeOptions)
def serve(runs: Place | Sequence[Place], options: ServeOptions = ServeOptions()) -> dict[str, Any]:
    """Serve runs over HTTP as OpenAI does, with a web page: chat, completion, embeddings, translation, reward scores; until Ctrl-C or SIGTERM."""
    places = [runs] if isinstance(runs, Place) else list(runs)
    if options.api_key is None and _KEY in os.environ:
        # an empty one is refused: whoever sets it does not mean an open server
        options = replace(options, api_key=os.environ[_KEY])
    lookup("engine", options.engine)
    served = Served(find_runs(places), options)
    with listening_socket(options.host, options.port) as socket:
        app = build_app(served, options, [open_votes(served, options), open_documents(options)])
        address = _address(options.host, socket.getsockname()[1])
        near = _near(options.host, socket.getsockname()[1])
        _tell(served, options, address)
        Server(app, options, on_ready=lambda: say(f"ready: {address} ({near}Ctrl-C stops)")).serve_on(socket)
    if served.failure is not None:
        raise served.failure
    return {"models": [known.id for known in served.known], "address": address}


def _tell(served: Served, options: ServeOptions, address: str) -> None:
    for known in served.known:
        say(f"  {known.id}: {', '.join(known.abilities)}")
    if options.api_key is None and not options.is_local:
        say(f"  everyone who reaches {address} can use it, for there is no key; set api_key=… to ask for one")


def _near(host: str, port: int) -> str:
    """Where a browser on this machine finds a server that listens at all addresses, which are none to go to."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host)
    return "" if here is None else f"here {_address(here, port)}; "


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
