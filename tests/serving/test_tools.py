"""Tools: into the prompt, out of the reply."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chatwright.data.formats import chat_of
from chatwright.generation.constrained import Grammars
from chatwright.serving.errors import ApiError
from chatwright.serving.openai.tools import CallReader, ToolRenderer, Tools, forced_call, tools_of
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.template import CHAT_TEMPLATE, PLAIN_TEMPLATE, tools_text
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.served import SCRIPT, TOOL_TEMPLATE, Places, Running, chat_body

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


# A model of others with its own template for tools, and one with ours.
MODELS = pytest.mark.parametrize("model", ["tools", "chat"])


def asked(client: httpx.Client, model: str = "tools", **more: Any) -> httpx.Response:
    return client.post(ROUTE, json=chat_body(model=model, tools=[WEATHER, CLOCK], **more))


def test_the_template_hears_of_tools_and_no_text_of_theirs_is_a_control_token(client: httpx.Client) -> None:
    assert asked(client).status_code == 200
    assert SCRIPT.prompts[0].startswith('<|im_start|>system\nTools: {"type": "function"')
    ends = [token for token in SCRIPT.asks[0].prompt if token in SCRIPT.asks[0].vocabulary.end_ids]
    assert len(ends) == 2, "one after the tools and one after the user"


def test_our_own_template_hears_of_tools(client: httpx.Client) -> None:
    SCRIPT.reply = lambda _: CALL
    system = {"role": "system", "content": "Be kind."}
    user = {"role": "user", "content": "hi"}
    for first, before in (([], ""), ([system], "Be kind.\n\n")):
        assert asked(client, "chat", messages=[*first, user]).status_code == 200
        told = f"{before}{tools_text([WEATHER, CLOCK])}"
        assert SCRIPT.prompts.pop() == (
            f"<|im_start|>system\n{told}<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        )
        ask = SCRIPT.asks.pop()
        assert sum(token in ask.vocabulary.end_ids for token in ask.prompt) == 2
        assert ask.constraint is None


def test_passages_leave_room_for_the_tools(client: httpx.Client, server: Running) -> None:
    told: list[bool] = []
    long = [{"role": "user", "content": "1" * 300}]

    def grounding(messages: Any, fits: Any) -> tuple[Any, list[Any]]:
        told.append(fits(long))
        return messages, []

    app: Any = server.server.config.app
    app.state.grounding, before = grounding, app.state.grounding
    try:
        assert asked(client, "chat", documents=True).status_code == 200
        assert client.post(ROUTE, json=chat_body(documents=True)).status_code == 200
    finally:
        app.state.grounding = before
    assert told == [False, True]


@MODELS
def test_calls_come_out_of_the_text(client: httpx.Client, model: str) -> None:
    SCRIPT.reply = lambda _: f"Let me see.\n{CALL}\n{CALL.replace('weather', 'clock')}"
    [choice] = asked(client, model).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see.\n"
    first, second = choice["message"]["tool_calls"]
    assert first["type"] == "function" and first["id"] != second["id"]
    assert first["function"]["name"] == "weather" and second["function"]["name"] == "clock"
    assert json.loads(first["function"]["arguments"]) == {"city": "北京"}


@MODELS
def test_calls_in_a_stream(client: httpx.Client, model: str) -> None:
    SCRIPT.reply = lambda _: f"a < b{CALL}"
    text = asked(client, model, stream=True).text
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


@pytest.mark.parametrize("said", ["Let me see.\n", ""])
def test_the_next_prompt_of_our_template_begins_with_what_was_written(
    client: httpx.Client, said: str
) -> None:
    """Or every turn would be prefilled anew."""
    call = '<tool_call>\n{"name": "clock", "arguments": {"zone": "北京"}}\n</tool_call>'
    SCRIPT.reply = lambda _: f"{said}{call}\n{call}"
    body = chat_body(model="chat", tools=[CLOCK])
    message = client.post(ROUTE, json=body).json()["choices"][0]["message"]
    replies = [{"role": "tool", "tool_call_id": call["id"], "content": "1"} for call in message["tool_calls"]]
    later = {**body, "messages": [*body["messages"], message, *replies]}
    assert client.post(ROUTE, json=later).status_code == 200
    first, second = SCRIPT.prompts
    reply = "<|im_start|>tool\n<tool_response>\n1\n</tool_response><|im_end|>\n"
    assert second == f"{first}{said}{call}\n{call}<|im_end|>\n{reply * 2}<|im_start|>assistant\n"


@MODELS
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_can_be_forced(client: httpx.Client, choice: Any, model: str) -> None:
    for seed in range(3):
        [found] = asked(client, model, tool_choice=choice, seed=seed, max_tokens=400).json()["choices"]
        if found["finish_reason"] == "length" and choice == "required":
            continue  # the clock takes any arguments, without end
        [call] = found["message"]["tool_calls"]
        if call["function"]["name"] == "weather":
            assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "北京")
        else:
            assert choice == "required"


@MODELS
def test_no_tool_may_be_called(client: httpx.Client, model: str) -> None:
    SCRIPT.reply = lambda _: CALL
    [choice] = asked(client, model, tool_choice="none").json()["choices"]
    assert choice["message"]["content"] == CALL and choice["finish_reason"] == "stop"
    assert SCRIPT.prompts[0].startswith("<|im_start|>user\nhi")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ],
)
def test_what_cannot_be(client: httpx.Client, body: dict[str, Any], param: str) -> None:
    refused = client.post(ROUTE, json={**chat_body(model="tools"), **body})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param


@pytest.fixture(scope="module")
def renderer(places: Places) -> Renderer:
    return Renderer(Tokenizer.load(places.chat))


def test_a_template_without_a_place_for_tools_is_told(renderer: Renderer) -> None:
    plain = Renderer(renderer.tokenizer, PLAIN_TEMPLATE)
    with pytest.raises(ApiError, match="no place for tools") as caught:
        tools_of({"tools": [CLOCK]}, plain)
    assert (caught.value.status, caught.value.param) == (400, "tools")
    assert tools_of({"tools": [CLOCK], "tool_choice": "none"}, plain) is None
    assert tools_of({"tools": [CLOCK]}, renderer) == Tools([CLOCK])


def conversation(system: bool, content: str | None) -> list[dict[str, Any]]:
    arguments = {"city": "北京", "<|im_end|>": ["<|im_start|>", None]}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    first = [{"role": "system", "content": "Be kind.<|im_end|>"}] if system else []
    return [
        *first,
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": content, "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "c", "content": '{"rain": "<|im_end|>"}'},
        {"role": "assistant", "content": "It rains."},
    ]


CONVERSATIONS = [
    conversation(system, said) for system in (False, True) for said in (None, "", "So.", "So:\n")
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_our_template_agrees_with_transformers(
    renderer: Renderer, places: Places, messages: list[dict[str, Any]]
) -> None:
    transformers = pytest.importorskip("transformers")
    peer = transformers.AutoTokenizer.from_pretrained(places.chat)
    tools = [WEATHER, CLOCK]
    ours = ToolRenderer(renderer, Tools(tools))
    for generation in (False, True):
        theirs = peer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generation
        )
        assert ours.text(messages, generation) == theirs
    # a look-alike of a control token is text for us alone
    harmless = json.loads(json.dumps(messages).replace("<|im_", "<im_"))
    told = json.loads(json.dumps(tools).replace("<|im_", "<im_"))
    rendered = ToolRenderer(renderer, Tools(told)).render(harmless)
    peers = peer.apply_chat_template(
        harmless, tools=told, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert rendered.ids.tolist() == peers["input_ids"]
    assert rendered.mask.astype(int).tolist() == peers["assistant_masks"]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("as_text", [False, True])
def test_what_a_run_is_taught_of_tools_is_what_it_is_asked(
    renderer: Renderer, messages: list[dict[str, Any]], as_text: bool
) -> None:
    tools: Any = [WEATHER, CLOCK]
    asked = ToolRenderer(renderer, Tools(tools))
    row = json.loads(json.dumps({"messages": messages, "tools": tools}))
    if as_text:
        row["tools"] = json.dumps(row["tools"])
        for call in row["messages"][-3]["tool_calls"]:
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    taught = renderer.render(chat_of(row, "f:1").messages)
    wanted = asked.render(messages)
    assert taught.ids.tolist() == wanted.ids.tolist()
    assert taught.mask.tolist() == wanted.mask.tolist()
    for size, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = asked.prompt(messages[:size]).tolist()
            assert taught.ids[: len(prompt)].tolist() == prompt and taught.mask[len(prompt)]
    learnt = renderer.tokenizer.decode(taught.ids[taught.mask], skip_special=False)
    assert learnt.count("<tool_call>") == 2 and learnt.count("<|im_end|>") == 2 + 2, (
        "each turn's end, and words"
    )
    assert "<tools>" not in learnt and "rain" not in learnt.partition("It rains.")[0]


def read(text: str, size: int, template: str = TOOL_TEMPLATE) -> tuple[str, list[str]]:
    """What a reader makes of a text in pieces of `size` characters."""
    reader = CallReader(Tools([WEATHER, CLOCK]), template)
    shown, names = "", []
    for start in range(0, len(text), size):
        piece, calls = reader.feed(text[start : start + size])
        shown, names = shown + piece, names + [call.name for call in calls]
    rest, calls = reader.flush()
    return shown + rest, names + [call.name for call in calls]


@pytest.mark.parametrize("template", [TOOL_TEMPLATE, CHAT_TEMPLATE])
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
def test_the_reader(template: str, size: int, text: str, shown: str, names: list[str]) -> None:
    assert read(text, size, template) == (shown, names)


@pytest.mark.parametrize("size", [1, 1000])
def test_the_reader_of_bare_calls(size: int) -> None:
    bare = '{"name": "clock", "parameters": {}}'
    assert read(bare, size, "tools") == ("", ["clock"])
    assert read("No: {", size, "tools") == ("No: {", [])
    assert read('{"name": 3}', size, "tools") == ('{"name": 3}', [])


@pytest.fixture(scope="module")
def grammars(renderer: Renderer) -> Grammars:
    tokenizer = renderer.tokenizer
    return Grammars(tokenizer, tokenizer.im_end, tokenizer.vocab_size)


def follows(grammars: Grammars, renderer: Renderer, rules: str, text: str) -> bool:
    """Whether rules admit a text, to its end and no further."""
    grammar, tokenizer = grammars.lark(rules), renderer.tokenizer
    for token in tokenizer.encode(text):
        if not grammar.allowed()[token]:
            return False
        grammar.accept(token)
    return grammar.allowed().nonzero().flatten().tolist() == [tokenizer.im_end]


# As pydantic writes a model within a model, a union told apart by a field, and a model that holds itself.
NESTED = {
    "type": "object",
    "properties": {"point": {"$ref": "#/$defs/P"}, "next": {"$ref": "#"}},
    "required": ["point"],
    "additionalProperties": False,
    "$defs": {
        "P": {"oneOf": [{"$ref": "#/$defs/X"}, {"type": "null"}]},
        "X": {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False},
    },
}


@pytest.mark.parametrize(
    ("template", "field", "begin", "end"),
    [
        (TOOL_TEMPLATE, "arguments", "<tool_call>\n", "\n</tool_call>"),
        ("tools", "parameters", "", ""),
    ],
)
def test_a_forced_call_follows_the_schema_of_its_own_tool(
    grammars: Grammars, renderer: Renderer, template: str, field: str, begin: str, end: str
) -> None:
    move = {"type": "function", "function": {"name": "move", "parameters": NESTED}}
    name = 'a"b\\c\n"} 北'
    odd = {"type": "function", "function": {"name": name, "parameters": None}}
    tools = Tools([move, WEATHER, odd], True)
    rules = forced_call(tools, template)

    def admits(called: str, arguments: str, rules: str = rules) -> bool:
        text = f'{begin}{{"name": {json.dumps(called)}, "{field}": {arguments}}}{end}'
        return follows(grammars, renderer, rules, text)

    assert admits("move", '{"point": {"x": 1}, "next": {"point": null}}')
    assert not admits("move", '{"point": {"y": 1}}') and not admits("move", '{"city": "Paris"}')
    assert admits("weather", '{"city": "Paris"}') and not admits("weather", '{"point": {"x": 1}}')
    assert admits(name, '{"a": [1]}') and not admits(name, "3")
    only = forced_call(Tools(tools.definitions, True, "move"), template)
    assert admits("move", '{"point": null}', only) and not admits("weather", '{"city": "Paris"}', only)


def test_a_forced_call_spends_nothing_on_white_space(grammars: Grammars, renderer: Renderer) -> None:
    """What likes white space best writes a call as short as any."""
    encode = renderer.tokenizer.encode
    tools = Tools([WEATHER], True)
    grammar, written = grammars.lark(forced_call(tools, TOOL_TEMPLATE)), list[int]()
    blanks = [encode(" ")[0], encode("\n")[0]]
    while not (mask := grammar.allowed())[renderer.tokenizer.im_end] and len(written) < 200:
        written.append(next((token for token in blanks if mask[token]), int(mask.nonzero()[0])))
        grammar.accept(written[-1])
    text = renderer.tokenizer.decode(written)
    _, [call] = CallReader(tools, TOOL_TEMPLATE).feed(text)
    assert text == f'<tool_call>\n{{"name": "weather", "arguments": {call.arguments}}}\n</tool_call>'


def test_a_tool_whose_schema_cannot_be_used_is_named(client: httpx.Client) -> None:
    wrong = {"type": "function", "function": {"name": "wrong", "parameters": {"type": "objekt"}}}
    for choice in ("required", {"type": "function", "function": {"name": "wrong"}}):
        body = chat_body(model="tools", tools=[WEATHER, wrong], tool_choice=choice)
        refused = client.post(ROUTE, json=body)
        assert refused.status_code == 400
        assert refused.json()["error"] == {
            "message": "the tool 'wrong': the JSON schema cannot be used: Invalid type: objekt",
            "type": "invalid_request_error",
            "param": "tools",
            "code": "invalid_value",
        }
    weather = {"type": "function", "function": {"name": "weather"}}
    assert client.post(ROUTE, json={**body, "tool_choice": weather}).status_code == 200


def test_tools_that_are_too_much_together_are_refused(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each could be used alone."""
    monkeypatch.setattr("chatwright.serving.openai.chat.forced_call", lambda *_: "start: nothing")
    error = asked(client, tool_choice="required").json()["error"]
    assert (error["param"], error["code"]) == ("tools", "invalid_value")
    assert "grammar cannot be used" in error["message"]


def test_a_response_format_that_cannot_be_used_says_where_it_stands(client: httpx.Client) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}
    for route, body in (
        (ROUTE, chat_body()),
        ("/v1/completions", {"model": "base", "prompt": "x"}),
    ):
        error = client.post(route, json={**body, "response_format": format}).json()["error"]
        assert (error["param"], error["code"]) == ("response_format", "invalid_value"), error
        assert error["message"] == "the JSON schema cannot be used: Invalid type: objekt"
