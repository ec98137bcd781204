"""The application: routes, what stands around them, and what happens when it starts and stops.

Others add to it by `Part`s: the votes and the documents each bring routes and what they can do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chatwright import __version__
from chatwright.errors import UserError
from chatwright.generation.continuous.contract import EngineClosed, GenerationFailed, QueueFull
from chatwright.serving.errors import ApiError, answer_error
from chatwright.serving.gate import Gate
from chatwright.serving.metrics import Metrics
from chatwright.serving.models import Served
from chatwright.serving.notes import NoteTaker, to_standard_error
from chatwright.serving.openai.chat import Grounding
from chatwright.serving.openai.routes import ROUTES
from chatwright.serving.openapi import document
from chatwright.serving.options import ServerOptions
from chatwright.serving.translating import translate
from chatwright.serving.web.static import web_routes
from chatwright.serving.wire import Json


@dataclass(frozen=True)
class Part:
    """What a part of the server adds: its routes, their piece of the OpenAPI document, what it tells in /api/info, and
    what puts passages into a chat that asks for documents. `close` is called when the server has stopped."""

    routes: Sequence[BaseRoute] = ()
    paths: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    grounding: Grounding | None = None
    close: Callable[[], None] = lambda: None


def build_app(
    served: Served,
    options: ServerOptions,
    parts: Sequence[Part] = (),
    *,
    log: Callable[[str], None] = to_standard_error,
) -> Starlette:
    """The server of some models. `app.state` holds `served`, `options`, `metrics`, `parts`."""
    files = web_routes()
    metrics = Metrics(lambda: {name: model.stats() for name, model in served.models.items()})
    routes = [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", show_metrics),
        Route("/openapi.json", show_document),
        Route("/api/info", info),
        Route("/api/translate", translate, methods=["POST"]),
        *ROUTES,
        *(route for part in parts for route in part.routes),
        *files,
    ]
    middleware = [Middleware(NoteTaker, on_end=metrics.observe, log=log, log_text=options.log_text)]
    if options.cors:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.cors),
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
                expose_headers=["retry-after", "x-request-id"],
            )
        )
    open_paths = {"/health", *(route.path for route in files)}
    middleware.append(Middleware(Gate, options=options, open_paths=open_paths))
    kinds = (ApiError, UserError, QueueFull, EngineClosed, GenerationFailed, HTTPException)
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers=dict.fromkeys(kinds, answer_error),
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.served, app.state.options, app.state.metrics, app.state.parts = served, options, metrics, parts
    app.state.grounding = next((part.grounding for part in parts if part.grounding is not None), None)
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    served: Served = app.state.served
    await asyncio.to_thread(served.close, app.state.options.drain)
    for part in app.state.parts:
        part.close()


async def health(request: Request) -> Response:
    """Whether the process answers at all."""
    return Json({"status": "ok"})


async def ready(request: Request) -> Response:
    """Whether requests are taken: 503 while models are loaded and while the server stops."""
    state = request.app.state.served.state
    return Json({"status": state}, 200 if state == "ready" else 503)


async def show_metrics(request: Request) -> Response:
    """The numbers of the server, for Prometheus."""
    text = await asyncio.to_thread(request.app.state.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def show_document(request: Request) -> Response:
    """This server's OpenAPI document."""
    state = request.app.state
    more = {path: item for part in state.parts for path, item in part.paths.items()}
    return Json(document(state.served, state.options, more))


async def info(request: Request) -> Response:
    """What the page needs to know: the models, what is switched on, the limits."""
    state = request.app.state
    served: Served = state.served
    models = [
        {
            "id": known.id,
            "abilities": list(known.abilities),
            "context": served.models[known.id].context if known.id in served.models else None,
        }
        for known in served.known
    ]
    on = {key: value for part in state.parts for key, value in part.info.items()}
    return Json(
        {
            "version": __version__,
            "status": served.state,
            "models": models,
            "votes": False,
            "documents": False,
            "labelling": False,
            "max_tokens": state.options.max_tokens,
            **on,
        }
    )
