"""/openapi.json: what this very server takes and gives, its models by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatwright import __version__
from chatwright.serving import schema as s
from chatwright.serving.models import Ability, Served
from chatwright.serving.options import ServerOptions
from chatwright.serving.schema import Schema, group, listed, maybe, text, whole

_WHOLE, _TEXT = whole(0), text()
_USAGE = group(
    {"prompt_tokens": _WHOLE, "total_tokens": _WHOLE}, ("prompt_tokens", "total_tokens"), open=True
)
_SCORES = maybe({"type": "object"})
_FINISH = {"enum": ["stop", "length", "tool_calls"]}
_HEAD: dict[str, Schema] = {"id": _TEXT, "object": _TEXT, "created": _WHOLE, "model": _TEXT}
ERROR = group(
    {
        "error": group(
            {"message": _TEXT, "type": _TEXT, "param": maybe(_TEXT), "code": maybe(_TEXT)},
            ("message", "type", "param", "code"),
        )
    },
    ("error",),
)
_MODEL = group(
    {"id": _TEXT, "object": {"const": "model"}, "created": _WHOLE, "owned_by": _TEXT, "context": _WHOLE},
    ("id", "object", "created", "owned_by"),
    open=True,
)
_CHAT_CHOICE = group(
    {
        "index": _WHOLE,
        "message": group(
            {"role": {"const": "assistant"}, "content": maybe(_TEXT)}, ("role", "content"), open=True
        ),
        "logprobs": _SCORES,
        "finish_reason": _FINISH,
    },
    ("index", "message", "logprobs", "finish_reason"),
)
_COMPLETION_CHOICE = group(
    {"index": _WHOLE, "text": _TEXT, "logprobs": _SCORES, "finish_reason": _FINISH},
    ("index", "text", "logprobs", "finish_reason"),
)
_VECTOR = group(
    {
        "object": {"const": "embedding"},
        "index": _WHOLE,
        "embedding": {"anyOf": [listed({"type": "number"}), _TEXT]},
    },
    ("object", "index", "embedding"),
)
_SCORE = group(
    {"index": _WHOLE, "object": {"const": "score"}, "score": {"type": "number"}}, ("index", "object", "score")
)
# One server-sent event; what a chunk holds is JSON in `data`, and the last one is [DONE].
_EVENT = group({"data": _TEXT}, ("data",), open=True)
_STATUS = group({"status": {"enum": ["ok", "loading", "ready", "draining", "failed"]}}, ("status",))
_INFO = group(
    {
        "version": _TEXT,
        "models": listed(group({"id": _TEXT, "abilities": listed(_TEXT)}, ("id", "abilities"), open=True)),
        "votes": {"type": "boolean"},
        "documents": {"type": "boolean"},
    },
    ("models", "votes", "documents"),
    open=True,
)


def _replied(object: str, choice: Schema) -> Schema:
    fields = {**_HEAD, "choices": listed(choice, 1), "usage": _USAGE}
    return group({**fields, "object": {"const": object}}, tuple(fields), open=True)


def _list(item: Schema, **more: Schema) -> Schema:
    return group({"object": {"const": "list"}, "data": listed(item), **more}, ("object", "data"), open=True)


def answers(schema: Schema, *statuses: int, kind: str = "application/json") -> dict[str, Any]:
    """The responses of a route: the good one, and the refusals that it may give."""
    found: dict[str, Any] = {"200": {"description": "done", "content": {kind: {"schema": schema}}}}
    for status in statuses:
        found[str(status)] = {
            "description": "refused",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    return found


_REFUSALS = (400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 504)


def takes(summary: str, body: Schema, schema: Schema, streams: bool = False) -> dict[str, Any]:
    """A POST route that takes JSON."""
    responses = answers(schema, *_REFUSALS)
    if streams:
        responses["200"]["content"]["text/event-stream"] = {"schema": _EVENT}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": responses,
        }
    }


def gives(summary: str, schema: Schema, *statuses: int, kind: str = "application/json") -> dict[str, Any]:
    """A GET route."""
    return {"get": {"summary": summary, "responses": answers(schema, 401, 403, *statuses, kind=kind)}}


def document(served: Served, options: ServerOptions, more: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI 3.1 document; `more` are the paths of other parts."""

    def of(body: s.Body, ability: Ability) -> Schema:
        able = [known.id for known in served.known if ability in known.abilities]
        return _with_models(body.schema, able)

    paths = {
        **_plain_paths(),
        "/v1/chat/completions": takes(
            "the assistant's next message",
            of(s.CHAT, "chat"),
            _replied("chat.completion", _CHAT_CHOICE),
            True,
        ),
        "/v1/completions": takes(
            "how a text goes on",
            of(s.COMPLETION, "completion"),
            _replied("text_completion", _COMPLETION_CHOICE),
            True,
        ),
        "/v1/embeddings": takes(
            "vectors of texts", of(s.EMBEDDINGS, "embedding"), _list(_VECTOR, model=_TEXT, usage=_USAGE)
        ),
        "/v1/score": takes("scores of replies", of(s.SCORE, "score"), _list(_SCORE, model=_TEXT)),
        "/api/translate": takes(
            "translations",
            of(s.TRANSLATE, "translation"),
            group({"model": _TEXT, "translations": listed(_TEXT)}, ("model", "translations")),
        ),
        **more,
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Chatwright", "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }
    if options.api_key is not None:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _plain_paths() -> dict[str, Any]:
    health = gives("whether the process answers", _STATUS)
    health["get"]["security"] = []
    show = gives("one model", _MODEL, 404)
    show["get"]["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": text(1)}]
    waits = gives("whether requests are taken", _STATUS)
    waits["get"]["responses"]["503"] = waits["get"]["responses"]["200"]
    return {
        "/health": health,
        "/ready": waits,
        "/metrics": gives("numbers for Prometheus", _TEXT, kind="text/plain"),
        "/api/info": gives("models, parts and limits", _INFO),
        "/v1/models": gives("the models", _list(_MODEL)),
        "/v1/models/{name}": show,
    }


def _with_models(schema: Schema, names: Sequence[str]) -> Schema:
    """The schema with the names that `model` may have; where no model is able, none is said."""
    if "anyOf" in schema:
        return {"anyOf": [_with_models(one, names) for one in schema["anyOf"]]}
    named = {"type": "string", "enum": list(names)} if names else schema["properties"]["model"]
    return {**schema, "properties": {**schema["properties"], "model": named}}
