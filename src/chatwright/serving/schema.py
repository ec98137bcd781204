"""What every route takes and gives, as JSON schemas: requests are held to them, and /openapi.json shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

from chatwright.errors import did_you_mean
from chatwright.serving.errors import ApiError

Schema = dict[str, Any]

MOST_CHOICES, MOST_TEXTS, MOST_MESSAGES, MOST_STOPS, MOST_TOOLS, MOST_TOP = 128, 2048, 2000, 16, 128, 20
_SHOWN = 200


def text(least: int = 0, most: int | None = None, **more: Any) -> Schema:
    return {"type": "string", "minLength": least, **({"maxLength": most} if most else {}), **more}


def number(least: float, most: float, **more: Any) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most, **more}


def whole(least: int, most: int = 2**63 - 1, **more: Any) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, **more}


def listed(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    return {"type": "array", "items": items, "minItems": least, **({"maxItems": most} if most else {})}


def maybe(schema: Schema) -> Schema:
    """Also null, which stands for the default."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        # told by its type, a value is refused with what is wrong with it
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def group(fields: Mapping[str, Schema], required: tuple[str, ...] = (), open: bool = False) -> Schema:
    """An object; a field that it does not know is refused unless `open`."""
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(required),
        **({} if open else {"additionalProperties": False}),
    }


def _is_whole(_: Any, value: Any) -> bool:
    # to JSON Schema 3.0 is whole as well, but not to what takes the number
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)


class Body:
    """The schema of a request's body, ready to hold requests to."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._validator = _Validator(schema)

    def check(self, value: Any) -> None:
        """Raise ApiError, with the place and the name, where a value is not what the schema says."""
        error = jsonschema.exceptions.best_match(self._validator.iter_errors(value))
        if error is not None:
            raise _refusal(error)


_MODEL = text(1, 300, description="one of /v1/models")
_ANY_OBJECT: Schema = {"type": "object"}
_NULL: Schema = {"type": "null"}
_FLAG: Schema = {"type": "boolean"}
_TEXTS = {"anyOf": [text(), listed(text(), 1, MOST_TEXTS)]}

_CALL = group(
    {
        "id": text(),
        "type": {"const": "function"},
        "index": whole(0),
        "function": group({"name": text(1), "arguments": text()}, ("name", "arguments")),
    },
    ("function",),
)
_PART = group({"type": {"const": "text"}, "text": text()}, ("type", "text"))
MESSAGE = group(
    {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"anyOf": [text(), listed(_PART), _NULL]},
        "name": maybe(text(0, 200)),
        "tool_calls": maybe(listed(_CALL, 0, MOST_TOOLS)),
        "tool_call_id": maybe(text()),
        "reasoning_content": maybe(text()),
        "refusal": maybe(text()),
        "annotations": maybe(listed({})),
        "audio": _NULL,
        "function_call": _NULL,
    },
    ("role",),
)
_TOOL = group(
    {
        "type": {"const": "function"},
        "function": group(
            {
                "name": text(1, 64, pattern="^[A-Za-z0-9_-]+$"),
                "description": maybe(text()),
                "parameters": maybe(_ANY_OBJECT),
                "strict": maybe(_FLAG),
            },
            ("name",),
        ),
    },
    ("type", "function"),
)
_TOOL_CHOICE = {
    "anyOf": [
        {"enum": ["none", "auto", "required"]},
        group(
            {"type": {"const": "function"}, "function": group({"name": text(1, 64)}, ("name",))},
            ("type", "function"),
        ),
    ]
}
_JSON_SCHEMA = group(
    {"name": text(1, 64), "description": maybe(text()), "schema": _ANY_OBJECT, "strict": maybe(_FLAG)},
    ("name", "schema"),
)
_FORMAT = {
    "anyOf": [
        group({"type": {"enum": ["text", "json_object"]}}, ("type",)),
        group({"type": {"const": "json_schema"}, "json_schema": _JSON_SCHEMA}, ("type", "json_schema")),
    ]
}

SAMPLING: dict[str, Schema] = {
    "temperature": maybe(number(0, 100, description="0: always the likeliest token; default 0.7")),
    "top_p": maybe(number(0, 1, description="above 0; default 0.95")),
    "top_k": maybe(whole(0, description="0: all tokens")),
    "min_p": maybe(number(0, 1)),
    "repetition_penalty": maybe(number(0.01, 100)),
    "presence_penalty": maybe(number(-2, 2)),
    "frequency_penalty": maybe(number(-2, 2)),
    "logit_bias": maybe(
        {
            "type": "object",
            "maxProperties": 1024,
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": number(-100, 100),
        }
    ),
    "seed": maybe({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
    "stop": maybe({"anyOf": [text(1, 500), listed(text(1, 500), 0, MOST_STOPS)]}),
    "n": maybe(whole(1, MOST_CHOICES)),
    "max_tokens": maybe(whole(1)),
}
_STREAMING = {
    "stream": maybe(_FLAG),
    "stream_options": maybe(group({"include_usage": maybe(_FLAG), "include_obfuscation": maybe(_FLAG)})),
}
# What clients send of their own accord and nothing here depends on.
_IGNORED = {
    "user": maybe(text()),
    "metadata": maybe(_ANY_OBJECT),
    "store": maybe(_FLAG),
    "service_tier": maybe(text()),
    "safety_identifier": maybe(text()),
    "prompt_cache_key": maybe(text()),
}

CHAT = Body(
    group(
        {
            "model": _MODEL,
            "messages": listed(MESSAGE, 1, MOST_MESSAGES),
            **SAMPLING,
            **_STREAMING,
            **_IGNORED,
            "reasoning_effort": maybe(text()),
            "verbosity": maybe(text()),
            "max_completion_tokens": maybe(whole(1)),
            "logprobs": maybe(_FLAG),
            "top_logprobs": maybe(whole(0, MOST_TOP)),
            "response_format": maybe(_FORMAT),
            "tools": maybe(listed(_TOOL, 0, MOST_TOOLS)),
            "tool_choice": maybe(_TOOL_CHOICE),
            "parallel_tool_calls": maybe(_FLAG),
            "documents": maybe(
                {**_FLAG, "description": "answer from the server's documents, with citations"}
            ),
        },
        ("model", "messages"),
    )
)
COMPLETION = Body(
    group(
        {
            "model": _MODEL,
            "prompt": {
                "anyOf": [
                    text(),
                    listed(text(), 1, MOST_CHOICES),
                    listed(whole(0), 1),
                    listed(listed(whole(0), 1), 1, MOST_CHOICES),
                ]
            },
            **SAMPLING,
            **_STREAMING,
            **_IGNORED,
            "logprobs": maybe(whole(0, MOST_TOP)),
            "echo": maybe({"const": False}),
            "response_format": maybe(_FORMAT),
        },
        ("model", "prompt"),
    )
)
EMBEDDINGS = Body(
    group(
        {
            "model": _MODEL,
            "input": {"anyOf": [_TEXTS, listed(whole(0), 1), listed(listed(whole(0), 1), 1, MOST_TEXTS)]},
            "encoding_format": maybe({"enum": ["float", "base64"]}),
            "dimensions": maybe(whole(1)),
            "user": maybe(text()),
        },
        ("model", "input"),
    )
)
SCORE = Body(
    {
        "anyOf": [
            group(
                {"model": _MODEL, "text_1": _TEXTS, "text_2": _TEXTS, "user": maybe(text())},
                ("model", "text_1", "text_2"),
            ),
            group(
                {
                    "model": _MODEL,
                    "messages": listed(MESSAGE, 1, MOST_MESSAGES),
                    "replies": listed(text(), 1, MOST_TEXTS),
                    "user": maybe(text()),
                },
                ("model", "messages", "replies"),
            ),
        ]
    }
)
TRANSLATE = Body(
    group(
        {
            "model": _MODEL,
            "text": _TEXTS,
            "beams": maybe(whole(1, 16)),
            "max_tokens": maybe(whole(1)),
            "length_penalty": maybe(number(-9, 9)),
        },
        ("model", "text"),
    )
)


def _refusal(error: Any) -> ApiError:
    place = _spoken(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        name = next(name for name in error.instance if name not in known)
        where = f" of {place}" if place else ""
        param = f"{place}.{name}" if place else name
        hint = did_you_mean(name, known) if len(known) < 12 or _is_near(name, known) else ""
        return ApiError(
            400,
            f"the parameter {_short(name)!r}{where} is not supported{hint}",
            _short(param),
            "unsupported_parameter",
        )
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        param = f"{place}.{missing}" if place else missing
        return ApiError(400, f"the parameter {param!r} is missing", param, "missing_parameter")
    message = f"{place or 'the body'}: {_short(error.message)}"
    return ApiError(400, message, place or None, "invalid_value")


def _is_near(name: str, known: Mapping[str, Any]) -> bool:
    return "did you mean" in did_you_mean(name, known)


def _spoken(path: Any) -> str:
    """`messages[0].content`."""
    spoken = ""
    for step in path:
        spoken += f"[{step}]" if isinstance(step, int) else f"{'.' if spoken else ''}{step}"
    return _short(spoken)


def _short(said: str) -> str:
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
