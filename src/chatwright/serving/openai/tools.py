"""Tools: into the prompt by the model's own template, and back out of what the model writes.

Two ways of writing a call are known: `<tool_call>{"name": …, "arguments": …}</tool_call>` (Hermes, Qwen), anywhere in a
reply and any number of times; and a reply that is nothing but `{"name": …, "parameters": …}` (Llama 3).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.errors import UserError
from chatwright.generation.stopping import overlap
from chatwright.serving.errors import ApiError
from chatwright.tokenization.chat import Renderer

_BEGIN, _END = "<tool_call>", "</tool_call>"
_TOOLS = re.compile(r"\btools\b")
# Arguments are written as templates write them, on one line: a weak model would spend its reply on white space.
_ONE_LINE = {
    "x-guidance": {
        "whitespace_flexible": False,
        "key_separator": ": ?",
        "item_separator": ", ?",
        "coerce_one_of": True,
    }
}


@dataclass(frozen=True)
class Call:
    """A call that the model wants; `arguments` is JSON as text."""

    id: str
    name: str
    arguments: str

    @property
    def public(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(frozen=True)
class Tools:
    """The tools of a request, and whether one must be called (`required`), and which alone may be (`only`)."""

    definitions: Sequence[Mapping[str, Any]]
    required: bool = False
    only: str | None = None

    @property
    def names(self) -> set[str]:
        return {tool["function"]["name"] for tool in self.definitions}

    @property
    def schemas(self) -> list[tuple[str, dict[str, Any]]]:
        """The name of each tool that may be called, and what its arguments must be."""
        functions = [tool["function"] for tool in self.definitions]
        return [
            (function["name"], {"type": "object", **(function.get("parameters") or {})})
            for function in functions
            if self.only in (None, function["name"])
        ]


def tools_of(body: Mapping[str, Any], renderer: Renderer) -> Tools | None:
    """The tools of a request; None where it has none or forbids them. Refused where the model's template has no place."""
    definitions, choice = body.get("tools") or [], body.get("tool_choice")
    if not definitions:
        if choice not in (None, "none", "auto"):
            raise ApiError(400, "tool_choice needs tools", "tool_choice", "invalid_value")
        return None
    if choice == "none":
        return None
    if not _TOOLS.search(renderer.template):
        raise ApiError(
            400,
            "this model's chat template has no place for tools, so it cannot be told of them",
            "tools",
            "unsupported_parameter",
        )
    only = choice["function"]["name"] if isinstance(choice, dict) else None
    tools = Tools(definitions, choice == "required" or only is not None, only)
    if only is not None and only not in tools.names:
        raise ApiError(
            400, f"tool_choice names {only!r}, which is not among the tools", "tool_choice", "invalid_value"
        )
    return tools


class ToolRenderer(Renderer):
    """A renderer whose template hears of tools."""

    def __init__(self, renderer: Renderer, tools: Tools | None) -> None:
        super().__init__(renderer.tokenizer, renderer.template)
        self._tools = None if tools is None else self._guard.protect_all(list(tools.definitions))

    def _run(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        try:
            return self._compiled.render(
                messages=[self._opened(message) for message in messages],
                tools=self._tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.tokenizer.named_tokens,
            )
        except Exception as error:
            # a template is a program from outside, and may fail in any way
            raise UserError(f"the chat template refuses the chat: {' '.join(str(error).split())}") from error

    def _opened(self, message: dict[str, Any]) -> dict[str, Any]:
        """Arguments as values, which templates write themselves; what is no JSON object stays text."""
        if not message.get("tool_calls"):
            return message
        calls = []
        for call in message["tool_calls"]:
            function = dict(call["function"])
            if isinstance(function["arguments"], str):
                function["arguments"] = self._values(function["arguments"])
            calls.append({**call, "function": function})
        return {**message, "tool_calls": calls}

    def _values(self, arguments: str) -> Any:
        try:
            # guarded anew when it is read: a JSON string can spell a control token in escapes
            found = json.loads(self._guard.restore(arguments))
        except (ValueError, RecursionError):
            return arguments
        return self._guard.protect_all(found) if isinstance(found, dict) else arguments


def is_tagged(template: str) -> bool:
    """Whether a model's template writes calls between tags."""
    return _BEGIN in template


def forced_call(tools: Tools, template: str) -> str:
    """The rules, in Lark's notation, of a reply that is one call."""
    field = "arguments" if is_tagged(template) else "parameters"
    around = f'"{_BEGIN}\\n" call "\\n{_END}"' if is_tagged(template) else "call"
    schemas = tools.schemas
    rules = [f"start: {around}", f"call: {' | '.join(f'call_{place}' for place in range(len(schemas)))}"]
    for place, (name, schema) in enumerate(schemas):
        # Lark's strings are escaped as JSON's are
        head = json.dumps(f'{{"name": {json.dumps(name)}, "{field}": ')
        # a root of its own: `$ref` counts from there
        rules += [
            f'call_{place}: {head} arguments_{place} "}}"',
            f"arguments_{place}: %json {json.dumps({**schema, **_ONE_LINE})}",
        ]
    return "\n".join(rules) + "\n"


class CallReader:
    """Takes calls out of a reply as it is written. What is no call after all is given back as text."""

    def __init__(self, tools: Tools, template: str) -> None:
        self._names, self._tagged = tools.names, is_tagged(template)
        self._held = ""
        self._begun = False
        self.calls = 0

    def feed(self, text: str) -> tuple[str, list[Call]]:
        """The text that may be shown now, and the calls that are whole."""
        self._held += text
        if not self._tagged:
            return self._feed_bare()
        shown: list[str] = []
        calls: list[Call] = []
        while True:
            before, begin, rest = self._held.partition(_BEGIN)
            if not begin:
                cut = len(self._held) - overlap(self._held, _BEGIN)
                shown.append(self._held[:cut])
                self._held = self._held[cut:]
                return self._said(shown, calls)
            shown.append(before)
            inner, end, after = rest.partition(_END)
            if not end:
                self._held = begin + rest
                return self._said(shown, calls)
            call = self._call(inner)
            if call is None:
                shown.append(begin + inner + end)
            else:
                calls.append(call)
            self._held = after

    def flush(self) -> tuple[str, list[Call]]:
        """What is still held, at the end of the reply."""
        held, self._held = self._held, ""
        inner = held.strip().removeprefix(_BEGIN) if self._tagged else held
        call = self._call(inner) if held.strip() else None
        if call is None:
            return self._said([held], [])
        return "", [call]

    def _feed_bare(self) -> tuple[str, list[Call]]:
        """A reply that begins like JSON is held to its end."""
        start = self._held.lstrip()
        if not self._begun and (not start or start[0] == "{"):
            return "", []
        self._begun = True
        text, self._held = self._held, ""
        return text, []

    def _said(self, shown: list[str], calls: list[Call]) -> tuple[str, list[Call]]:
        text = "".join(shown)
        # line breaks around calls belong to the way of writing and not to the reply
        return ("" if (calls or self.calls) and not text.strip() else text), calls

    def _call(self, text: str) -> Call | None:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        name = found.get("name") if isinstance(found, dict) else None
        if not isinstance(name, str) or name not in self._names:
            return None
        arguments = found.get("arguments", found.get("parameters", {}))
        if not isinstance(arguments, dict):
            return None
        self.calls += 1
        return Call(f"call_{secrets.token_hex(12)}", name, json.dumps(arguments, ensure_ascii=False))
