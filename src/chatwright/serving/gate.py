"""Who is let in: the key, the name that the server was called by, the size of the body; and headers that guard pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.serving.errors import ApiError
from chatwright.serving.options import ServerOptions, is_loopback

# The page's files bring stricter ones of their own.
_GUARDS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Gate:
    """Middleware. `open_paths` need no key: /health, and the files of the page, which are the same for everyone and
    have to be there to ask for it."""

    def __init__(self, app: ASGIApp, options: ServerOptions, open_paths: Collection[str]) -> None:
        self._app, self._open = app, frozenset(open_paths)
        self._key = None if options.api_key is None else _digest(options.api_key.encode())
        self._largest = int(options.max_body * 1_000_000)
        # without a key, a page elsewhere could point a name of its own at this machine and talk to us as if it were ours
        self._only_local_names = self._key is None and options.is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _GUARDS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._admit(scope)
        except ApiError as error:
            await error.response()(scope, receive, sending)
            return
        await self._app(scope, _measured(receive, self._largest), sending)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._only_local_names and not is_loopback(_name(headers.get("host", "localhost"))):
            raise ApiError(
                403,
                "this server has no key and is called by another name than localhost; set api_key",
                code="host",
            )
        if self._key is not None and scope["path"] not in self._open:
            given = _given_key(headers)
            if given is None or not hmac.compare_digest(_digest(given), self._key):
                said = "the key is missing" if given is None else "the key is wrong"
                raise ApiError(
                    401,
                    f"{said}; send the header Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._largest:
            raise _too_large(self._largest)


def _measured(receive: Receive, most: int) -> Receive:
    """`receive`, which refuses a body that turns out larger than its header said."""
    seen = 0

    async def receiving() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most)
        return message

    return receiving


def _too_large(most: int) -> ApiError:
    message = (
        f"the body is larger than {most / 1e6:g} MB; send less, or start the server with a larger max_body"
    )
    return ApiError(413, message, code="body_too_large", headers={"Connection": "close"})


def _given_key(headers: Headers) -> bytes | None:
    """The key of a request: a bearer's, or the password of basic authentication."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return None


def _digest(key: bytes) -> bytes:
    # of equal length for every key, so that the comparison tells not even that
    return hashlib.sha256(key).digest()


def _name(host: str) -> str:
    """The name of a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host
