"""Clients that people use, against a real server: OpenAI's package, LangChain's, curl."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from helpers.served import GREETING, SCRIPT, Places, Running, chat_body, eventually, running

KEY = "sk-test"
ASKED: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def keyed(places: Places, _scripted_engine: None) -> Iterator[Running]:
    with running([places.chat, places.tools, places.base, places.vectors], api_key=KEY) as server:
        yield server


@pytest.fixture
def client(keyed: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=keyed.v1, api_key=KEY, max_retries=0) as opened:
        yield opened


def test_openai_sync(client: openai.OpenAI) -> None:
    assert "chat" in [model.id for model in client.models.list()]
    assert client.models.retrieve("base").owned_by == "chatwright"
    reply = client.chat.completions.create(
        model="chat", messages=ASKED, n=2, seed=1, logprobs=True, top_logprobs=1
    )
    assert [choice.message.content for choice in reply.choices] == [GREETING] * 2
    assert reply.usage and reply.usage.prompt_tokens_details
    assert reply.usage.prompt_tokens_details.cached_tokens == reply.usage.prompt_tokens // 2
    assert reply.choices[0].logprobs and reply.choices[0].logprobs.content
    assert client.completions.create(model="base", prompt="x").choices[0].text == GREETING
    # the client asks for base64 of its own accord and reads it
    vectors = client.embeddings.create(model="vectors", input=["a", "b"])
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) == 32


def test_openai_streams(client: openai.OpenAI) -> None:
    said, reasons, usage = "", [], None
    with client.chat.completions.create(
        model="chat", messages=ASKED, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                said += choice.delta.content or ""
                reasons.append(choice.finish_reason)
    assert said == GREETING and reasons[-1] == "stop" and set(reasons[:-1]) == {None}
    assert usage is not None and usage.completion_tokens == SCRIPT.written
    texts = [
        chunk.choices[0].text for chunk in client.completions.create(model="base", prompt="x", stream=True)
    ]
    assert "".join(texts) == GREETING and len(texts) > 3


def test_openai_leaves_a_stream(client: openai.OpenAI) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda _: "word " * 200, 0.02
    with client.chat.completions.create(model="chat", messages=ASKED, stream=True) as stream:
        next(iter(stream))
    assert eventually(lambda: SCRIPT.running == 0 and SCRIPT.cancelled == 1, 1.0)


def test_openai_async(keyed: Running) -> None:
    async def talk() -> list[str]:
        async with openai.AsyncOpenAI(base_url=keyed.v1, api_key=KEY) as client:

            async def one() -> str:
                stream = await client.chat.completions.create(model="chat", messages=ASKED, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(one() for _ in range(5)))

    assert asyncio.run(talk()) == [GREETING] * 5


class Person(BaseModel):
    likes_tea: bool
    child: bool | None


def test_openai_schemas(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="chat", messages=ASKED, response_format=Person)
    assert isinstance(reply.choices[0].message.parsed, Person)
    with client.chat.completions.stream(model="chat", messages=ASKED, response_format=Person) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Person)


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_openai_tools(client: openai.OpenAI) -> None:
    SCRIPT.reply = lambda _: '<tool_call>{"name": "weather", "arguments": {"city": "北京"}}</tool_call>'
    first = client.chat.completions.create(model="tools", messages=ASKED, tools=[WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls" and first.message.tool_calls
    [call] = first.message.tool_calls
    assert call.type == "function" and json.loads(call.function.arguments) == {"city": "北京"}
    # the message goes back as the client keeps it
    messages = [*ASKED, first.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    SCRIPT.reply = lambda _: "It rains."
    second = client.chat.completions.create(model="tools", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "It rains."
    messages[1] = first.message.model_dump()  # type: ignore[call-overload]
    assert client.chat.completions.create(model="tools", messages=messages, tools=[WEATHER]).choices
    SCRIPT.reply = lambda _: '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    with client.chat.completions.stream(model="tools", messages=ASKED, tools=[WEATHER]) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls" and final.message.tool_calls
    assert final.message.tool_calls[0].function.name == "weather"


def test_openai_reads_refusals(keyed: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'") as missing:
        client.chat.completions.create(model="gpt", messages=ASKED)
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="'audio'") as unsupported:
        client.chat.completions.create(
            model="chat", messages=ASKED, audio={"voice": "alloy", "format": "mp3"}
        )
    assert unsupported.value.param == "audio" and unsupported.value.type == "invalid_request_error"
    with (
        openai.OpenAI(base_url=keyed.v1, api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()

    def fail(asked: str) -> str:
        raise ValueError("no")

    SCRIPT.reply = fail
    with pytest.raises(openai.APIError, match="failed"):
        list(client.chat.completions.create(model="chat", messages=ASKED, stream=True))


def test_langchain(keyed: Running) -> None:
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    given: dict[str, Any] = {"base_url": keyed.v1, "api_key": KEY}
    chat = ChatOpenAI(model="chat", temperature=0, **given)
    assert chat.invoke("hi").content == GREETING
    assert "".join(str(piece.content) for piece in chat.stream("hi")) == GREETING
    person = chat.with_structured_output(Person, method="json_schema").invoke("hi")
    assert isinstance(person, Person)

    @tool
    def weather(city: str) -> str:
        """The weather of a city."""
        return "rain"

    SCRIPT.reply = lambda _: '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'
    found = ChatOpenAI(model="tools", **given).bind_tools([weather]).invoke("hi")
    assert found.tool_calls[0]["args"] == {"city": "Paris"}
    embeddings = OpenAIEmbeddings(model="vectors", check_embedding_ctx_length=False, **given)
    assert len(embeddings.embed_query("a")) == 32


def curl(*words: str) -> str:
    command = ["curl", "-sS", "--max-time", "20", *words]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout


def test_curl(keyed: Running, tmp_path: Path) -> None:
    key = ("-H", f"Authorization: Bearer {KEY}")
    kind = ("-H", "Content-Type: application/json")
    body = json.dumps(chat_body("你好"), ensure_ascii=False)
    route = f"{keyed.v1}/chat/completions"
    assert json.loads(curl(*key, *kind, "-d", body, route))["choices"][0]["message"]["content"] == GREETING
    text = curl(*key, *kind, "-N", "-d", json.dumps(chat_body(stream=True)), route)
    assert text.startswith('data: {"id":"chatcmpl-') and text.endswith("data: [DONE]\n\n")
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    assert curl(*code, f"{keyed.address}/health") == "200"
    assert curl(*code, f"{keyed.v1}/models") == "401"
    assert curl(*code, *key, "-d", body, route) == "415"
    assert curl(*code, "-I", f"{keyed.address}/health") == "200"
    large = tmp_path / "large.json"
    large.write_text("x" * 5_000_000)
    assert curl(*code, *key, *kind, "-d", f"@{large}", route) == "413"
