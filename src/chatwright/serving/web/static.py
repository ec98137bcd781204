"""The routes of the web page: files read once, served by name, under headers that let nothing else act in the browser.

Each file has a route of its own, so no path of a request leads to the disk. All files but the first page stand
under one digest of them all: a browser keeps them for a year, and a new version has new addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE = Path(__file__).parent / "page"
# Scripts and styles come from here only, requests go here only, and nothing turns text into markup but DOMPurify.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# What the operating system's table of types says may be wrong, and a wrong one is refused under `nosniff`.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_FOREVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"
_PLACEHOLDER = b"web/current/"


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent: its bytes, the same under gzip where that is shorter, its type and its tag."""

    body: bytes
    packed: bytes | None
    media_type: str
    tag: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> WebFile:
        packed = gzip.compress(body, mtime=0)
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        return cls(body, packed if len(packed) < len(body) else None, TYPES[suffix], tag)


@dataclass(frozen=True)
class WebPage:
    """The first page, and all that it asks for: a table from the name under `digest` to the file."""

    digest: str
    index: WebFile
    files: dict[str, WebFile]


@cache
def web_page(folder: Path = PAGE) -> WebPage:
    """Read the page's files. Licences and notes, which no browser asks for, are left out."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }
    whole = hashlib.sha256()
    for name, body in found.items():
        whole.update(f"{name}\0{len(body)}\0".encode() + body)
    digest = whole.hexdigest()[:16]
    index = found.pop("index.html").replace(_PLACEHOLDER, f"web/{digest}/".encode())
    files = {name: WebFile.of(body, Path(name).suffix) for name, body in found.items()}
    return WebPage(digest, WebFile.of(index, ".html"), files)


def web_routes() -> list[Route]:
    """One route for each file of the page. They hold nothing of the user's, and so ask for no key."""
    page = web_page()
    routes = [Route("/", _giver(page.index, _ASK_EACH_TIME), include_in_schema=False)]
    for name, file in page.files.items():
        routes.append(Route(f"/web/{page.digest}/{name}", _giver(file, _FOREVER), include_in_schema=False))
    return routes


def _giver(file: WebFile, keep: str) -> Callable[[Request], Response]:
    def give(request: Request) -> Response:
        return _send(file, request, keep)

    return give


def _send(file: WebFile, request: Request, keep: str) -> Response:
    headers = {**HEADERS, "Cache-Control": keep, "ETag": file.tag, "Vary": "Accept-Encoding"}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type
        )
    return Response(file.body, headers=headers, media_type=file.media_type)
