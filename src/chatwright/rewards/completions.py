"""Questions to an OpenAI-compatible chat endpoint, asked again after failures that may pass."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from chatwright.config import at_least, option
from chatwright.errors import Interrupted, UserError

_LARGEST_ANSWER = 16 << 20
_LONGEST_PAUSE = 60.0
_MAY_PASS = (408, 425, 429)


@dataclass(frozen=True)
class EndpointOptions:
    """Where the endpoint is, and how patiently it is asked."""

    base_url: str = option(MISSING, "address of the endpoint, as http://localhost:8000/v1")
    model: str = option(MISSING, "name of the model, as the endpoint calls it")
    api_key_variable: str = option("", "name of the environment variable that holds the key; default: no key")
    timeout: float = option(120.0, "seconds without a sign of an answer before it is asked again")
    retries: int = option(4, "how often a question is asked again")
    backoff: float = option(1.0, "seconds before the first retry; each next one waits twice as long")
    temperature: float | None = option(0.0, "of the endpoint's answers; none: leave it to the endpoint")
    max_new_tokens: int | None = option(None, "most tokens of an answer; default: leave it to the endpoint")

    def __post_init__(self) -> None:
        if not _is_address(self.base_url):
            raise UserError(f"base_url={self.base_url} should be an address, as http://localhost:8000/v1")
        at_least(self, 0, "retries", "backoff", "temperature")
        at_least(self, 1, "max_new_tokens")
        if self.timeout <= 0:
            raise UserError(f"timeout={self.timeout} must be more than 0")


class Completions:
    """Asks an endpoint; safe among threads."""

    def __init__(self, options: EndpointOptions) -> None:
        """Raises UserError when the environment variable of the key is not set."""
        self.options, self.url = options, _url(options.base_url)
        self._headers = {"Content-Type": "application/json", **_authorization(options.api_key_variable)}
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        host = urlsplit(self.url).hostname or ""
        if host in ("localhost", "::1") or host.startswith("127."):
            handlers.append(urllib.request.ProxyHandler({}))
        self._open = urllib.request.build_opener(*handlers).open

    def ask(self, messages: Sequence[dict[str, str]], stop: Event) -> str:
        """The answer to a conversation; a pause between two tries ends when `stop` is set, with Interrupted.

        Raises UserError, its last words the mend, when there is no answer.
        """
        pause, why = 0.0, ""
        for attempt in range(self.options.retries + 1):
            if stop.is_set() or (pause and stop.wait(min(pause, _LONGEST_PAUSE))):
                raise Interrupted("no further questions are asked")
            try:
                return self._try(messages)
            except _Passing as failure:
                why, pause = str(failure), max(failure.pause, self.options.backoff * 2.0**attempt)
        tries = f"{self.options.retries + 1} tries" if self.options.retries else "1 try"
        mend = "see that it runs and that base_url is right"
        raise UserError(f"the judge at {self.url} does not answer (after {tries}: {why}); {mend}")

    def _try(self, messages: Sequence[dict[str, str]]) -> str:
        body: dict[str, Any] = {"model": self.options.model, "messages": list(messages)}
        if self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        if self.options.max_new_tokens is not None:
            body["max_tokens"] = self.options.max_new_tokens
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self._headers, method="POST")
        try:
            with self._open(request, timeout=self.options.timeout) as response:
                return _content(response.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                reason = f"no sign of an answer in {self.options.timeout:g} s"
            raise _Passing(_one_line(str(reason)) or type(error).__name__) from None

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        said = f"{error.code} {_said(error)}".strip()
        if error.code in _MAY_PASS or error.code >= 500:
            after = str(error.headers.get("Retry-After", ""))
            return _Passing(said, float(after) if after.isdecimal() else 0.0)
        mend = "see that base_url and model are right"
        if error.code in (401, 403):
            name = self.options.api_key_variable
            mend = (
                f"put a valid key into {name}"
                if name
                else "name the variable with the key as api_key_variable"
            )
        return UserError(f"the judge at {self.url} refused the question: {said}; {mend}")


class _Passing(Exception):
    """A failure that may pass; `pause` is for how many seconds the endpoint wants to be left alone."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go to whoever it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _is_address(url: str) -> bool:
    try:
        address = urlsplit(url)
        whole = bool(address.hostname) and address.port != 0
    except ValueError:
        return False
    return whole and address.scheme in ("http", "https") and url.isascii() and not re.search(r"\s", url)


def _url(base: str) -> str:
    base = base.rstrip("/")
    if base.endswith("/chat/completions"):
        return base
    return f"{base}/chat/completions" if re.search(r"/v\d+$", base) else f"{base}/v1/chat/completions"


def _authorization(variable: str) -> dict[str, str]:
    if not variable:
        return {}
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii():
        # what is no name may be the key itself, which belongs on no screen
        name = f"{variable!r}" if re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable) else "of this name"
        state = "holds no key that can be sent" if key else "is not set"
        raise UserError(
            f"the environment variable {name} {state}; api_key_variable is the name of one that holds the key"
        )
    return {"Authorization": f"Bearer {key}"}


def _content(answer: bytes) -> str:
    """The text of a chat completion; one without text is empty."""
    try:
        content = json.loads(answer)["choices"][0]["message"].get("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        said = _one_line(answer[:200].decode("utf-8", "replace"))
        raise _Passing(f"its answer is no chat completion: {said}") from None
    return content if isinstance(content, str) else ""


def _said(error: urllib.error.HTTPError) -> str:
    """The message of a refusal."""
    try:
        body = error.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    with suppress(ValueError, KeyError, TypeError):
        body = json.loads(body)["error"]["message"]
    return _one_line(str(body)) or str(error.reason)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
