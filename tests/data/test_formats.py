from __future__ import annotations

import json
from typing import Any

import pytest

from chatwright.data.formats import FORMATS, SkipRow, chat_of, role_of, text_of
from chatwright.errors import UserError
from chatwright.tokenization.template import tools_text

HELLO = [("user", "Hi"), ("assistant", "Hello")]


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat_of(row, "f:1").messages]


@pytest.mark.parametrize("name", FORMATS)
def test_every_example_is_read_by_its_own_format(name: str) -> None:
    row = json.loads(FORMATS[name].example)
    assert [key for key, format in FORMATS.items() if format.matches(row)] == [name]
    assert turns(row)[-1] == ("assistant", "Hello")


def test_openai_messages() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    row = {
        "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Hello"}],
        "id": 3,
    }
    assert turns(row) == HELLO
    assert chat_of(row, "f:1").source == "f:1"


CLOCK = {"type": "function", "function": {"name": "时间", "parameters": {}}}
NOON = '<tool_call>\n{"name": "时间", "arguments": {"zone": "北京"}}\n</tool_call>'


@pytest.mark.parametrize(
    "tools", [[CLOCK], [CLOCK["function"]], json.dumps([CLOCK]), json.dumps([CLOCK["function"]])]
)
@pytest.mark.parametrize("arguments", [{"zone": "北京"}, '{"zone":"北京"}'])
def test_openai_tools_and_calls_are_as_our_chat_template_writes_them(tools: Any, arguments: Any) -> None:
    call = {"type": "function", "function": {"name": "时间", "arguments": arguments}}
    row = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "time?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "12:00"},
            {"role": "assistant", "content": "Noon. And now?", "tool_calls": [call["function"], call]},
        ],
        "tools": tools,
    }
    assert turns(row) == [
        ("system", f"Be brief.\n\n{tools_text([CLOCK])}"),
        ("user", "time?"),
        ("assistant", NOON),
        ("tool", "12:00"),
        ("assistant", f"Noon. And now?\n{NOON}\n{NOON}"),
    ]


def test_sharegpt_with_tools() -> None:
    call = {"name": "时间", "arguments": {"zone": "北京"}}
    row = {
        "conversations": [
            {"from": "human", "value": "Hi"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "1"},
            {"from": "function_call", "value": json.dumps([call, call])},
            {
                "from": "tool",
                "value": "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>",
            },
            {"from": "gpt", "value": "One"},
        ],
        "system": "S",
        "tools": json.dumps([CLOCK["function"]]),
    }
    assert turns(row) == [
        ("system", f"S\n\n{tools_text([CLOCK])}"),
        ("user", "Hi"),
        ("assistant", NOON),
        ("tool", "1"),
        ("assistant", f"{NOON}\n{NOON}"),
        ("tool", "1\n</tool_response>\n<tool_response>\n2"),
        ("assistant", "One"),
    ]


@pytest.mark.parametrize("tools", ["", "[]", [], None])
def test_no_tools_say_nothing(tools: Any) -> None:
    named = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "tool_calls": tools or None},
    ]
    assert turns({"conversations": named, "tools": tools, "system": None}) == HELLO
    assert turns({"messages": named, "tools": tools}) == HELLO


@pytest.mark.parametrize("value", ["{}", "[]", "3", "not JSON", '{"name": 3}', '[{"name": "f"}, 3]'])
def test_what_is_no_call_and_no_list_of_tools_stays_text(value: str) -> None:
    calls = [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": value}]
    assert turns({"conversations": calls, "tools": "[T]"})[::2] == [("system", "[T]"), ("assistant", value)]


def test_a_call_without_a_name_is_refused() -> None:
    mute: list[dict[str, Any]] = [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]
    with pytest.raises(UserError, match=r"^f:1: a tool call should be an object with 'name' and 'arguments'"):
        chat_of({"messages": mute}, "f:1")
    mute[0]["tool_calls"] = 3
    with pytest.raises(UserError, match=r"^f:1: 'tool_calls' should be a list, not a int"):
        chat_of({"messages": mute}, "f:1")


def test_alpaca_with_everything() -> None:
    row = {"instruction": "Add", "input": "1 + 1", "output": "2", "system": "S", "history": [["Hi", "Hello"]]}
    assert turns(row) == [("system", "S"), *HELLO, ("user", "Add\n1 + 1"), ("assistant", "2")]
    assert turns({"instruction": "Hi", "output": "Hello"}) == HELLO


def test_prompts() -> None:
    assert turns({"prompt": "Hi", "completion": "Hello"}) == HELLO
    assert turns({"prompt": "Hi", "response": "Hello"}) == HELLO
    spoken = {
        "prompt": [{"role": "user", "content": "Hi"}],
        "completion": [{"role": "assistant", "content": "Hello"}],
    }
    assert turns(spoken) == HELLO


def test_unknown_keys_show_what_was_found_and_what_is_known() -> None:
    with pytest.raises(UserError) as caught:
        chat_of({"frage": "x", "antwort": "y"}, "file.jsonl:7")
    told = str(caught.value)
    assert told.startswith("file.jsonl:7: no chat format has the keys 'frage', 'antwort'")
    assert "\n" not in told
    assert all(format.example in told for format in FORMATS.values())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, "no assistant message"),
        ({"messages": []}, "no assistant message"),
        ({"prompt": "Hi", "completion": " \n"}, "empty assistant message"),
        ({"instruction": "Hi", "output": None}, "empty assistant message"),
        ({"prompt": [{"type": "image_url"}], "completion": "x"}, "content part that is not text"),
        ({"prompt": "Hi", "completion": "rude", "label": False}, "reply labelled as unwanted"),
    ],
)
def test_rows_without_words_to_learn_are_skipped_with_the_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(SkipRow, match=reason):
        chat_of(row, "f:1")


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, "f:1: unknown role 'robot'"),
        ({"messages": [{"role": None, "content": "x"}]}, "f:1: unknown role None"),
        ({"messages": ["x"]}, "f:1: every message should be an object"),
        ({"conversations": ["x"]}, "f:1: every message should be an object"),
        ({"conversations": [{"value": "x"}]}, "f:1: every message should be an object with 'from'"),
        ({"prompt": 3, "completion": "x"}, "f:1: a message's content should be text"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "f:1: each turn of 'history'"),
        ({"prompt": "x", "chosen": "a", "rejected": "b"}, "f:1: this is a preference"),
        ({}, "f:1: no chat format has the keys none"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_their_place(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(UserError) as caught:
        chat_of(row, "f:1")
    assert str(caught.value).startswith(cause)


def test_roles_and_contents() -> None:
    assert [role_of(name) for name in ("Human", "GPT", "system", "observation")] == [
        "user",
        "assistant",
        "system",
        "tool",
    ]
    assert text_of(["a", {"text": "b"}]) == "ab"
    assert text_of(None) == ""
