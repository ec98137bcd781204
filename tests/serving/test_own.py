"""Our own engine behind the server: real models, real sampling."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest

from chatwright.generation.text import TextModel
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.served import Places, Running, chat_body, eventually, running

SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}, "n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["a", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def own(places: Places, _scripted_engine: None) -> Iterator[Running]:
    with running([places.chat, places.base], engine="own", weights="float32", slots=3, threads=1) as server:
        yield server


def said(server: Running, text: str, **more: Any) -> dict[str, Any]:
    response = httpx.post(
        f"{server.v1}/chat/completions", json=chat_body(text, max_tokens=24, **more), timeout=60
    )
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_greedy_replies_are_those_of_the_model_alone_however_many_ask(own: Running, places: Places) -> None:
    model = TextModel.load(places.chat)
    texts = [f"number {number} 你好" for number in range(8)]
    prompts = [model.chat_renderer().prompt([{"role": "user", "content": text}]).tolist() for text in texts]
    wanted = model.texts(prompts, _greedy(24))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: said(own, text, temperature=0), texts))
    assert [reply["choices"][0]["message"]["content"] for reply in found] == wanted


def _greedy(most: int) -> Any:
    from chatwright.generation.sampling import SamplingOptions

    return SamplingOptions(max_new_tokens=most, temperature=0)


def test_a_seed_repeats_itself_and_choices_differ(own: Running) -> None:
    first = said(own, "hi", seed=3, n=3, temperature=1)["choices"]
    again = said(own, "hi", seed=3, n=3, temperature=1)["choices"]
    texts = [choice["message"]["content"] for choice in first]
    assert texts == [choice["message"]["content"] for choice in again] and len(set(texts)) == 3


def test_a_second_turn_computes_only_what_is_new(own: Running) -> None:
    messages = [{"role": "user", "content": "tell me of the brown fox and of the lazy dog " * 3}]
    body = {"model": "chat", "messages": messages, "max_tokens": 4, "temperature": 0}
    first = httpx.post(f"{own.v1}/chat/completions", json=body, timeout=60).json()
    messages += [first["choices"][0]["message"], {"role": "user", "content": "and then?"}]
    messages[1].pop("refusal")
    second = httpx.post(f"{own.v1}/chat/completions", json=body, timeout=60).json()["usage"]
    assert second["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1


def test_random_weights_hold_to_a_schema(own: Running) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    body = chat_body(response_format=format, n=3, temperature=1, seed=1)
    for choice in httpx.post(f"{own.v1}/chat/completions", json=body, timeout=60).json()["choices"]:
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)


def test_logprobs_penalties_and_bias(own: Running) -> None:
    [plain] = said(own, "hi", temperature=0, logprobs=True, top_logprobs=3)["choices"]
    for entry in plain["logprobs"]["content"]:
        best = entry["top_logprobs"]
        assert best[0]["token"] == entry["token"] and best[0]["logprob"] == pytest.approx(
            entry["logprob"], abs=1e-4
        )
        assert best[0]["logprob"] >= best[1]["logprob"] >= best[2]["logprob"]
    tokenizer = TextModel.load(own.served.models["chat"].directory).tokenizer
    [token] = tokenizer.encode("a")
    body = {
        "model": "base",
        "prompt": "x",
        "max_tokens": 5,
        "temperature": 0,
        "logit_bias": {str(token): 100},
    }
    found = httpx.post(f"{own.v1}/completions", json=body, timeout=60).json()
    assert found["choices"][0]["text"] == "aaaaa"
    found = httpx.post(
        f"{own.v1}/completions", json={**body, "frequency_penalty": 2, "max_tokens": 200}, timeout=60
    )
    assert found.json()["choices"][0]["text"].startswith("aaaaa")


def test_a_slot_is_free_when_the_client_has_left(
    own: Running, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = {str(token): -100 for token in Tokenizer.load(places.chat).stop_ids}
    engine = own.served.models["chat"].writer.engine  # type: ignore[union-attr]
    address, step = urlsplit(own.v1), engine._scheduler.step
    # so small a model would be done before anybody could leave
    monkeypatch.setattr(engine._scheduler, "step", lambda: (time.sleep(0.02), step())[1])
    for stream in (True, False):
        before = engine.stats()["cancelled"]
        body = chat_body("hi", stream=stream, max_tokens=480, logit_bias=never, n=3)
        content = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            assert eventually(lambda: engine.stats()["running"] > 0, 5.0)
        assert eventually(lambda before=before: engine.stats()["cancelled"] > before, 2.0)
        assert eventually(lambda: engine.stats()["running"] == 0 and engine.stats()["slots_free"] == 3, 2.0)
