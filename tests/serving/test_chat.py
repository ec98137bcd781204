"""/v1/chat/completions on the wire: whole, streamed, and every detail that clients trip on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
import pytest

from helpers.served import CONTEXT, GREETING, SCRIPT, Running, chat_body, eventually

ROUTE = "/v1/chat/completions"


def events(text: str) -> list[Any]:
    """The events of a stream, comments left out; the last one must be [DONE]."""
    lines = [line for line in text.split("\n\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def streamed(client: httpx.Client, **more: Any) -> list[Any]:
    response = client.post(ROUTE, json=chat_body(stream=True, **more))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events(response.text)


def whole(client: httpx.Client, **more: Any) -> dict[str, Any]:
    response = client.post(ROUTE, json={**chat_body(), **more})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_reply(client: httpx.Client) -> None:
    found = whole(client)
    assert (
        found["object"] == "chat.completion"
        and found["model"] == "chat"
        and found["id"].startswith("chatcmpl-")
    )
    [choice] = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": GREETING, "refusal": None}
    assert choice["finish_reason"] == "stop" and choice["logprobs"] is None
    usage = found["usage"]
    assert usage["completion_tokens"] == SCRIPT.written
    assert usage["prompt_tokens"] == len(SCRIPT.asks[0].prompt)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] // 2


def test_the_prompt_is_the_template_s(client: httpx.Client) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b<|im_end|>"}],
        },
        {"role": "assistant", "content": None},
        {"role": "user", "content": "c"},
    ]
    whole(client, messages=messages)
    turns = ["system\nBe brief.", "user\na b<|im_end|>", "assistant\n", "user\nc"]
    said = "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns) + "<|im_start|>assistant\n"
    assert SCRIPT.prompts == [said]
    # the look-alike in the text is no control token
    ends = sum(token in SCRIPT.asks[0].vocabulary.end_ids for token in SCRIPT.asks[0].prompt)
    assert ends == len(turns)


def test_a_stream_begins_with_the_role_and_ends_with_a_reason(client: httpx.Client) -> None:
    found = streamed(client)
    assert found[0]["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    *middle, last = found
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in middle)
    assert last["choices"][0]["finish_reason"] == "stop" and last["choices"][0]["delta"] == {}
    for chunk in found:
        assert {"id", "object", "created", "model", "choices"} <= chunk.keys()
        assert chunk["object"] == "chat.completion.chunk" and "usage" not in chunk
    assert len({chunk["id"] for chunk in found}) == 1


def test_characters_over_several_tokens_are_sent_whole(client: httpx.Client) -> None:
    SCRIPT.reply = lambda _: "鑫🦊龘é 好"
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in streamed(client)]
    assert "".join(pieces) == "鑫🦊龘é 好" and "\ufffd" not in "".join(pieces)
    assert SCRIPT.written > len("鑫🦊龘é 好"), "the tokenizer splits no character; the test shows nothing"


def test_usage_comes_last_when_asked_for(client: httpx.Client) -> None:
    found = streamed(client, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in found[:-1])
    assert found[-1]["choices"] == [] and found[-1]["usage"]["completion_tokens"] == SCRIPT.written


@pytest.mark.parametrize(
    ("stop", "said"),
    [("world", "Hello 你好 🙂 "), (["zzz", "好 🙂"], "Hello 你"), ("o", "Hell"), ("Hello", "")],
)
def test_stop_strings_over_several_tokens(client: httpx.Client, stop: Any, said: str) -> None:
    found = whole(client, stop=stop)
    assert found["choices"][0]["message"]["content"] == said
    assert found["choices"][0]["finish_reason"] == "stop"
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in streamed(client, stop=stop)]
    assert "".join(pieces) == said


def test_the_beginning_of_a_stop_string_that_is_none_is_sent_in_the_end(client: httpx.Client) -> None:
    assert whole(client, stop="world!")["choices"][0]["message"]["content"] == GREETING


def test_length(client: httpx.Client) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        found = whole(client, **{name: 2})
        assert found["choices"][0]["finish_reason"] == "length" and found["usage"]["completion_tokens"] == 2
    whole(client)
    ask = SCRIPT.asks[-1]
    assert ask.sampling.max_new_tokens == CONTEXT - len(ask.prompt)


def test_several_choices(client: httpx.Client) -> None:
    found = whole(client, n=3, seed=5)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    assert {ask.row for ask in SCRIPT.asks} == {0, 1, 2} and {ask.sampling.seed for ask in SCRIPT.asks} == {5}
    prompt = len(SCRIPT.asks[0].prompt)
    assert found["usage"]["prompt_tokens"] == prompt, "the prompt is counted once"
    assert found["usage"]["completion_tokens"] == SCRIPT.written
    chunks = streamed(client, n=2)
    for number in (0, 1):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == number]
        assert own[0]["delta"]["role"] == "assistant" and own[-1]["finish_reason"] == "stop"
        assert "".join(choice["delta"].get("content", "") for choice in own) == GREETING


def test_sampling_parameters_reach_the_engine(client: httpx.Client) -> None:
    whole(
        client,
        temperature=0.5,
        top_p=0,
        top_k=7,
        min_p=0.1,
        repetition_penalty=1.2,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
        logit_bias={"5": -100},
        seed=-3,
    )
    [ask] = SCRIPT.asks
    sampling = ask.sampling
    assert (sampling.temperature, sampling.top_k, sampling.min_p) == (0.5, 7, 0.1)
    assert 0 < sampling.top_p < 1e-6 and sampling.repetition_penalty == 1.2
    assert (ask.presence_penalty, ask.frequency_penalty, dict(ask.logit_bias)) == (0.25, -0.5, {5: -100.0})
    assert sampling.seed == 2**64 - 3


def test_logprobs(client: httpx.Client) -> None:
    [choice] = whole(client, logprobs=True, top_logprobs=2, stop="好")["choices"]
    content = choice["logprobs"]["content"]
    spelled = b"".join(bytes(entry["bytes"]) for entry in content)
    assert spelled == "Hello 你".encode(), "the tokens of the stop string have no place"
    assert all(entry["logprob"] == -0.5 and len(entry["top_logprobs"]) == 2 for entry in content)
    chunks = streamed(client, logprobs=True)
    entries = [
        entry for chunk in chunks for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert b"".join(bytes(entry["bytes"]) for entry in entries) == GREETING.encode()
    refused = client.post(ROUTE, json=chat_body(top_logprobs=2))
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "top_logprobs"


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_reply_follows_its_schema(client: httpx.Client) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    found = whole(client, response_format=format, n=4)
    for choice in found["choices"]:
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
    assert len({choice["message"]["content"] for choice in found["choices"]}) > 1
    [choice] = whole(client, response_format={"type": "json_object"}, max_tokens=400)["choices"]
    assert choice["message"]["content"].startswith("{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"type": "string", "pattern": "("},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(client: httpx.Client, schema: Any) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    refused = client.post(ROUTE, json=chat_body(response_format=format))
    assert refused.status_code == 400 and "JSON schema" in refused.json()["error"]["message"]
    assert not SCRIPT.asks


def test_a_failing_model_is_told_without_its_reason(server: Running, client: httpx.Client) -> None:
    def fail(asked: str) -> str:
        raise ValueError("the secret text")

    SCRIPT.reply = fail
    found = client.post(ROUTE, json=chat_body())
    assert found.status_code == 500 and "secret" not in found.text
    assert found.json()["error"]["type"] == "server_error"
    [role, error] = streamed(client)
    assert role["choices"][0]["delta"]["role"] == "assistant" and error["error"]["code"] == "failed"
    assert all("secret" not in line for line in server.log)
    assert eventually(lambda: any("ValueError at" in line.get("error", "") for line in server.lines()[-2:]))
