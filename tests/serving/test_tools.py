"""Tools: into the prompt, out of the reply."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chatwright.serving.openai.tools import CallReader, Tools, forced_call
from helpers.served import SCRIPT, TOOL_TEMPLATE, chat_body

ROUTE = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <|im_end|>",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "北京"]}, "<|im_end|>": {"type": "null"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call>'


def asked(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(ROUTE, json=chat_body(model="tools", tools=[WEATHER, CLOCK], **more))


def test_the_template_hears_of_tools_and_no_text_of_theirs_is_a_control_token(client: httpx.Client) -> None:
    assert asked(client).status_code == 200
    assert SCRIPT.prompts[0].startswith('<|im_start|>system\nTools: {"type": "function"')
    ends = [token for token in SCRIPT.asks[0].prompt if token in SCRIPT.asks[0].vocabulary.end_ids]
    assert len(ends) == 2, "one after the tools and one after the user"


def test_calls_come_out_of_the_text(client: httpx.Client) -> None:
    SCRIPT.reply = lambda _: f"Let me see.\n{CALL}\n{CALL.replace('weather', 'clock')}"
    [choice] = asked(client).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see.\n"
    first, second = choice["message"]["tool_calls"]
    assert first["type"] == "function" and first["id"] != second["id"]
    assert first["function"]["name"] == "weather" and second["function"]["name"] == "clock"
    assert json.loads(first["function"]["arguments"]) == {"city": "北京"}


def test_calls_in_a_stream(client: httpx.Client) -> None:
    SCRIPT.reply = lambda _: f"a < b{CALL}"
    text = asked(client, stream=True).text
    chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == "a < b"
    [[call]] = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert call["index"] == 0 and call["function"]["name"] == "weather"
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("city", ["<|im_end|>", r"\u003c|im_end|>"])
def test_the_conversation_goes_on_after_a_call(client: httpx.Client, city: str) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'},
    }
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    body = {"model": "tools", "messages": messages}
    assert client.post(ROUTE, json=body).status_code == 200
    assert (
        '<tool_call>{"name": "weather", "arguments": {"city": "<|im_end|>"}}</tool_call>' in SCRIPT.prompts[0]
    )
    assert "<|im_start|>tool\nrain" in SCRIPT.prompts[0]
    ask = SCRIPT.asks[0]
    assert sum(token in ask.vocabulary.end_ids for token in ask.prompt) == 3, "and none out of the arguments"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_can_be_forced(client: httpx.Client, choice: Any) -> None:
    for seed in range(3):
        [found] = asked(client, tool_choice=choice, seed=seed, max_tokens=400).json()["choices"]
        if found["finish_reason"] == "length" and choice == "required":
            continue  # the clock takes any arguments, without end
        [call] = found["message"]["tool_calls"]
        if call["function"]["name"] == "weather":
            assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "北京")
        else:
            assert choice == "required"


def test_no_tool_may_be_called(client: httpx.Client) -> None:
    SCRIPT.reply = lambda _: CALL
    [choice] = asked(client, tool_choice="none").json()["choices"]
    assert choice["message"]["content"] == CALL and choice["finish_reason"] == "stop"
    assert "Tools:" not in SCRIPT.prompts[0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "chat", "tools": [CLOCK]}, "tools"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ],
)
def test_what_cannot_be(client: httpx.Client, body: dict[str, Any], param: str) -> None:
    refused = client.post(ROUTE, json={**chat_body(model="tools"), **body})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param


def read(text: str, size: int, template: str = TOOL_TEMPLATE) -> tuple[str, list[str]]:
    """What a reader makes of a text in pieces of `size` characters."""
    reader = CallReader(Tools([WEATHER, CLOCK]), template)
    shown, names = "", []
    for start in range(0, len(text), size):
        piece, calls = reader.feed(text[start : start + size])
        shown, names = shown + piece, names + [call.name for call in calls]
    rest, calls = reader.flush()
    return shown + rest, names + [call.name for call in calls]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "shown", "names"),
    [
        ("no call", "no call", []),
        (f"x{CALL}y", "xy", ["weather"]),
        (f"{CALL}\n\n{CALL}\n", "", ["weather", "weather"]),
        (CALL.removesuffix("</tool_call>"), "", ["weather"]),
        ("a <tool_", "a <tool_", []),
        ("<tool_call>{broken</tool_call>!", "<tool_call>{broken</tool_call>!", []),
        ('<tool_call>{"name": "rm"}</tool_call>', '<tool_call>{"name": "rm"}</tool_call>', []),
        (
            '<tool_call>{"name": "clock", "arguments": 3}</tool_call>',
            '<tool_call>{"name": "clock", "arguments": 3}</tool_call>',
            [],
        ),
    ],
)
def test_the_reader(size: int, text: str, shown: str, names: list[str]) -> None:
    assert read(text, size) == (shown, names)


@pytest.mark.parametrize("size", [1, 1000])
def test_the_reader_of_bare_calls(size: int) -> None:
    bare = '{"name": "clock", "parameters": {}}'
    assert read(bare, size, "tools") == ("", ["clock"])
    assert read("No: {", size, "tools") == ("No: {", [])
    assert read('{"name": 3}', size, "tools") == ('{"name": 3}', [])


def test_a_forced_call_of_a_bare_template_is_bare() -> None:
    rules = forced_call(Tools([CLOCK], True), "tools")
    assert rules.startswith("start: call\n") and '"parameters"' in rules
