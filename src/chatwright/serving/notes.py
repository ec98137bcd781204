"""What is written down of a request: one JSON line when it is over, without what was said unless asked."""

from __future__ import annotations

import json
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.serving.errors import refusal

# What nginx calls it when the client has gone.
CLIENT_LEFT = 499
# Asked every few seconds by whoever watches the server; only what goes wrong is told.
_WATCHED = frozenset({"/health", "/ready", "/metrics"})


@dataclass
class Note:
    """One request. Routes fill in what they know."""

    id: str
    method: str
    route: str = "unknown"
    status: int = 500
    model: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    finishes: list[str] = field(default_factory=list)
    first_seconds: float | None = None
    seconds: float = 0.0
    error: str | None = None
    asked: Any = None
    replied: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def first_token(self) -> None:
        """The first token is there."""
        if self.first_seconds is None:
            self.first_seconds = time.monotonic() - self.begun

    def line(self, with_text: bool) -> str:
        """The note as one line of JSON."""
        fields: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": "request",
            "id": self.id,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "ms": round(self.seconds * 1000, 1),
        }
        if self.model is not None:
            fields |= {
                "model": self.model,
                "prompt_tokens": self.prompt_tokens,
                "cached_tokens": self.cached_tokens,
                "completion_tokens": self.completion_tokens,
                "finish": self.finishes,
            }
        if self.first_seconds is not None:
            fields["first_token_ms"] = round(self.first_seconds * 1000, 1)
        if self.error is not None:
            fields["error"] = self.error
        if with_text:
            fields |= {"asked": self.asked, "replied": self.replied}
        # ASCII, so that no sign of a text can be read as the terminal's or the log's own
        return json.dumps(fields, default=str)


def note_of(request: Request) -> Note:
    """The note of the request that is being answered."""
    note: Note = request.scope["chatwright.note"]
    return note


class NoteTaker:
    """Middleware, the outermost: gives every request an id and a note, and hands the note on when it is over."""

    def __init__(
        self, app: ASGIApp, on_end: Callable[[Note], None], log: Callable[[str], None], log_text: bool
    ) -> None:
        self._app, self._on_end, self._log, self._log_text = app, on_end, log, log_text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = Note(secrets.token_hex(8), _method(scope["method"]))
        scope["chatwright.note"] = note

        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun, note.status = True, message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", note.id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            note.status = CLIENT_LEFT
        except Exception as error:
            note.status, note.error = 500, where(error)
            if not begun:
                await refusal(error).response()(scope, receive, sending)
        finally:
            note.seconds = time.monotonic() - note.begun
            note.route = _route(scope)
            self._on_end(note)
            if note.route not in _WATCHED or note.status >= 300:
                self._log(note.line(self._log_text))


def where(error: BaseException) -> str:
    """An error by its kind and place. Its message may hold what a user wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('chatwright/')[2]}:{frame.lineno}" for frame in frames[-4:]]
    cause = f" from {where(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{type(error).__name__} at {' < '.join(reversed(places))}{cause}"


def to_standard_error(line: str) -> None:
    """Where the log goes by default."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _route(scope: Scope) -> str:
    """The route by its pattern: no word of the request's own. The page's files count as one."""
    path = getattr(scope.get("route"), "path", "unknown")
    return "/web" if path.startswith("/web/") else str(path)


def _method(name: str) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    return name if name in known else "other"
