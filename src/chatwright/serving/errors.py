"""Refusals as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import EngineClosed, GenerationFailed, QueueFull
from chatwright.serving.wire import Json

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_RETRY_SECONDS = 2


class ApiError(Exception):
    """A request that is refused: the status, one line that names the value and the mend, and where it stands."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """What the client reads."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Json:
        return Json(self.body, self.status, headers=self.headers)


def refusal(error: Exception) -> ApiError:
    """Any error as a refusal. What only a bug can cause says nothing of its cause to the client."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UserError):
        return ApiError(400, str(error))
    if isinstance(error, QueueFull):
        # a count of others' requests is nobody's business; the waiting time is
        wait = str(max(1, math.ceil(error.retry_after)))
        message = f"the server is busy; try again in {wait} s"
        return ApiError(429, message, code="queue_full", headers={"Retry-After": wait})
    if isinstance(error, EngineClosed):
        return unavailable("the server is shutting down")
    if isinstance(error, GenerationFailed) and isinstance(error.__cause__, UserError):
        return ApiError(400, str(error.__cause__))
    if isinstance(error, GenerationFailed):
        return ApiError(500, "the model failed on this request; the server's log says why", code="failed")
    if isinstance(error, HTTPException):
        return _of_http(error)
    return ApiError(500, "the server failed on this request; its log says why", code="internal_error")


def unavailable(message: str) -> ApiError:
    return ApiError(
        503, f"{message}; try again later", code="unavailable", headers={"Retry-After": str(_RETRY_SECONDS)}
    )


def _of_http(error: HTTPException) -> ApiError:
    said = {404: "there is no such route; /openapi.json lists them", 405: "this route takes another method"}
    return ApiError(
        error.status_code, said.get(error.status_code, error.detail), headers=dict(error.headers or {})
    )


async def answer_error(request: Request, error: Exception) -> Json:
    """The exception handler of the whole application."""
    return refusal(error).response()
