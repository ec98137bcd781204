"""A request's body: JSON, not too large, not too deep, in time, and what the schema says."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import Request

from chatwright.serving.errors import ApiError
from chatwright.serving.schema import Body

# Deeper than any schema that people write, and far from what the parsers and templates behind can bear.
_DEEPEST = 48


async def read_json(request: Request, schema: Body | None = None) -> Any:
    """The body, held to `schema`. Raises ApiError: 415 another type (which a form on another site could send), 413 too
    large, 408 too slow, 400 no JSON, too deep or not as the schema says."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "the body must be JSON; send the header Content-Type: application/json")
    options = request.app.state.options
    try:
        async with asyncio.timeout(options.read_timeout):
            body = await request.body()
    except TimeoutError:
        raise ApiError(
            408, f"the body did not arrive within {options.read_timeout:g} s", code="timeout"
        ) from None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # what the parser says holds the place and none of the text
        raise ApiError(
            400, f"the body is not JSON: {error.msg} at character {error.pos}", code="invalid_json"
        ) from None
    _refuse_depth(value)
    if schema is not None:
        schema.check(value)
    return value


def _refuse_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ApiError(400, f"the body is nested deeper than {_DEEPEST} levels", code="invalid_value")
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
