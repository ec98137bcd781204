"""Rows of public chat files into conversations: each format a detector and a converter in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.data.records import Chat, Message
from chatwright.errors import UserError
from chatwright.tokenization.template import calls_text, tools_text

Row = Mapping[str, Any]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "function": "tool",
    "tool": "tool",
    "ipython": "tool",
}
_REPLY = ("<tool_response>", "</tool_response>")


class SkipRow(Exception):
    """A row that says nothing to learn from; it is left out and counted under its reason."""


@dataclass(frozen=True)
class Format:
    """One layout of rows: `matches` looks at the keys, `messages` converts, `example` is shown."""

    matches: Callable[[Row], bool]
    messages: Callable[[Row], list[Message]]
    example: str


def chat_of(row: Row, place: str) -> Chat:
    """The conversation of a row in any known format, with `place` (`file:line`) as its source.

    Raises `SkipRow` with the reason for a conversation without words of an assistant, and `UserError` for a
    layout or a role that nobody knows.
    """
    if "chosen" in row and "rejected" in row:
        raise UserError(f"{place}: this is a preference (chosen, rejected), not a chat; give a file of chats")
    chosen = next((format for format in FORMATS.values() if format.matches(row)), None)
    if chosen is None:
        keys = ", ".join(map(repr, row)) or "none"
        known = "; ".join(f"{name}: {format.example}" for name, format in FORMATS.items())
        raise UserError(f"{place}: no chat format has the keys {keys}; known are {known}")
    try:
        messages = chosen.messages(row)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    if row.get("label") is False:
        raise SkipRow("reply labelled as unwanted")
    replies = [message for message in messages if message.role == "assistant"]
    if not replies:
        raise SkipRow("no assistant message")
    if any(not message.content.strip() for message in replies):
        raise SkipRow("empty assistant message")
    return Chat(tuple(messages), place)


def role_of(name: Any) -> str:
    """The common name of a role: `human` is `user`, `gpt` is `assistant` …"""
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise UserError(f"unknown role {name!r}; known: {', '.join(_ROLES)}")
    return role


def text_of(content: Any) -> str:
    """The text of a message's content: a string, nothing, or OpenAI's list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    raise UserError(f"a message's content should be text or a list of parts, not {_kind(content)}")


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type", "without a type") if isinstance(part, Mapping) else _kind(part)
    raise SkipRow(f"content part that is not text ({kind})")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _turns(value: Any, role: str, content: str) -> list[Message]:
    if not all(isinstance(turn, Mapping) and role in turn for turn in value):
        raise UserError(f"every message should be an object with {role!r} and {content!r}")
    return [_turn(turn, turn[role], text_of(turn.get(content))) for turn in value]


def _turn(turn: Row, name: Any, text: str) -> Message:
    """A message whose calls and tool replies are as our chat template writes them."""
    role = role_of(name)
    if role == "tool":
        return Message(role, _unwrapped(text))
    calls = _opened(turn.get("tool_calls")) or []
    if name.lower() == "function_call" and not calls:
        called = _opened(text)
        calls = called if isinstance(called, list) else [called]
        if not calls or not all(map(_is_named, calls)):
            return Message(role, text)
        text = ""
    if not isinstance(calls, list):
        raise UserError(f"'tool_calls' should be a list, not {_kind(calls)}")
    return Message(role, calls_text(text, [_call(call) for call in calls]) if calls else text)


def _unwrapped(text: str) -> str:
    """A tool's reply without the tags that some files have and the template writes itself."""
    stripped = text.strip()
    if stripped.startswith(_REPLY[0]) and stripped.endswith(_REPLY[1]):
        return stripped.removeprefix(_REPLY[0]).removesuffix(_REPLY[1]).strip("\n")
    return text


def _call(call: Any) -> Row:
    """OpenAI's tool call, or its function alone; arguments that are an object as text become an object."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    if not _is_named(function):
        raise UserError(f"a tool call should be an object with 'name' and 'arguments', not {_kind(function)}")
    given = function.get("arguments", function.get("parameters"))
    arguments = _opened(given)
    return {"name": function["name"], "arguments": arguments if isinstance(arguments, dict) else given}


def _is_named(function: Any) -> bool:
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)


def _opened(value: Any) -> Any:
    """What a text of JSON holds; any other value as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _tools(value: Any) -> str:
    """A row's tools, a list or its JSON, as our chat template tells of them; what is no such list as text."""
    tools = _opened(value)
    if not tools:
        return ""
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        return value if isinstance(value, str) else _as_json(tools)
    return tools_text(
        [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
    )


def _with_system(messages: list[Message], *parts: Any) -> list[Message]:
    """The messages with more text in their system message, which is made where there is none."""
    texts = [text for part in parts if (text := part if isinstance(part, str) else _as_json(part)).strip()]
    if not texts:
        return messages
    if messages and messages[0].role == "system":
        texts.insert(0, messages[0].content)
        messages = messages[1:]
    return [Message("system", "\n\n".join(texts)), *messages]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _openai(row: Row) -> list[Message]:
    return _with_system(_turns(row["messages"], "role", "content"), _tools(row.get("tools")))


def _sharegpt(row: Row) -> list[Message]:
    turns = row["conversations"]
    keys = (
        ("role", "content")
        if turns and isinstance(turns[0], Mapping) and "role" in turns[0]
        else ("from", "value")
    )
    return _with_system(_turns(turns, *keys), row.get("system"), _tools(row.get("tools")))


def _alpaca(row: Row) -> list[Message]:
    messages: list[Message] = []
    if not isinstance(row.get("history") or [], list):
        raise UserError("'history' should be a list of pairs [instruction, output]")
    for turn in row.get("history") or []:
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise UserError("each turn of 'history' should be a pair [instruction, output]")
        messages += [Message("user", text_of(turn[0])), Message("assistant", text_of(turn[1]))]
    asked = [text for key in ("instruction", "input") if (text := text_of(row.get(key))).strip()]
    messages += [Message("user", "\n".join(asked)), Message("assistant", text_of(row["output"]))]
    return _with_system(messages, row.get("system"))


def _pair(answer: str) -> Callable[[Row], list[Message]]:
    def messages(row: Row) -> list[Message]:
        turns = [*_spoken(row["prompt"], "user"), *_spoken(row[answer], "assistant")]
        return _with_system(turns, row.get("system"))

    return messages


def _spoken(value: Any, role: str) -> list[Message]:
    """A prompt or a completion: text, or a list of messages."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping) and "role" in value[0]:
        return _turns(value, "role", "content")
    return [Message(role, text_of(value))]


def _is_list(key: str) -> Callable[[Row], bool]:
    return lambda row: isinstance(row.get(key), list)


def _has(*keys: str) -> Callable[[Row], bool]:
    return lambda row: all(key in row for key in keys)


FORMATS: dict[str, Format] = {
    "messages": Format(
        _is_list("messages"),
        _openai,
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}',
    ),
    "sharegpt": Format(
        _is_list("conversations"),
        _sharegpt,
        '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}',
    ),
    "prompt-completion": Format(
        _has("prompt", "completion"), _pair("completion"), '{"prompt": "Hi", "completion": "Hello"}'
    ),
    "prompt-response": Format(
        _has("prompt", "response"), _pair("response"), '{"prompt": "Hi", "response": "Hello"}'
    ),
    "alpaca": Format(
        _has("instruction", "output"), _alpaca, '{"instruction": "Greet", "input": "", "output": "Hello"}'
    ),
}
