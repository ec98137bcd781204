"""The votes of a server that runs somewhere, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

from chatwright.errors import UserError

KEY_VARIABLE = "CHATWRIGHT_API_KEY"
_LARGEST_SUMMARY = 64 << 20
_PATIENCE_SECONDS = 60.0


class RemoteVotes:
    """A server's votes. The key is the environment's CHATWRIGHT_API_KEY, where it is set."""

    def __init__(self, address: str) -> None:
        """`address` is that of the server, as http://localhost:8000; raises UserError for what is none."""
        parts = urlsplit(address)
        if not parts.hostname or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise UserError(f"{address} should be the address of a server, as http://localhost:8000")
        self._base = address.rstrip("/")
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127."):
            handlers.append(urllib.request.ProxyHandler({}))
        self._open = urllib.request.build_opener(*handlers).open

    def summary(self) -> dict[str, Any]:
        """What `summary.summary` gives there."""
        with self._get("/api/votes/summary") as response:
            try:
                found = json.loads(response.read(_LARGEST_SUMMARY))
            except ValueError:
                found = None
        if not isinstance(found, dict) or "votes" not in found:
            raise UserError(f"{self._base} is no server of chatwright with votes; see the address")
        return found

    def lines(self, kind: str) -> Iterator[str]:
        """What `export.lines` gives there."""
        with self._get(f"/api/votes/export.jsonl?kind={kind}") as response:
            for line in response:
                yield line.decode("utf-8")

    @contextmanager
    def _get(self, path: str) -> Iterator[IO[bytes]]:
        key = os.environ.get(KEY_VARIABLE, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            request = urllib.request.Request(self._base + path, headers=headers)
            with self._open(request, timeout=_PATIENCE_SECONDS) as response:
                yield response
        except urllib.error.HTTPError as error:
            with error:
                mend = f"put its key into {KEY_VARIABLE}" if error.code in (401, 403) else "see the address"
                raise UserError(f"{self._base} refuses ({error.code} {error.reason}); {mend}") from None
        except (OSError, http.client.HTTPException) as error:
            said = " ".join(str(getattr(error, "reason", error)).split())
            raise UserError(
                f"{self._base} does not answer ({said}); see that `chatwright serve` runs there"
            ) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go to whoever it names."""

    def redirect_request(self, *_: Any) -> None:
        return None
