"""Completions, vectors, scores, translations; what is served; numbers and logs."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.generation.embedding import Embedder
from chatwright.generation.translation import Translator
from chatwright.rewards.model import RewardModel
from chatwright.serving.models import Served, distinct_names, find_runs
from chatwright.tokenization.template import calls_text
from helpers.served import GREETING, SCRIPT, Places, chat_body, eventually, running

COMPLETIONS = "/v1/completions"


def post(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_completion(client: httpx.Client) -> None:
    found = post(client, COMPLETIONS, model="base", prompt="Once", logprobs=2, stop=" 🙂")
    [choice] = found["choices"]
    assert found["object"] == "text_completion" and choice["text"] == "Hello 你好"
    scores = choice["logprobs"]
    assert "".join(scores["tokens"][:5]) == "Hello" and set(scores["token_logprobs"]) == {-0.5}
    assert len(scores["tokens"]) == len(scores["top_logprobs"]) == len(scores["text_offset"])
    assert SCRIPT.prompts == ["<|endoftext|>Once"]


def test_offsets_count_characters_though_tokens_are_parts_of_them(client: httpx.Client) -> None:
    SCRIPT.reply = lambda prompt: "a龘b🙂"
    [choice] = post(client, COMPLETIONS, model="base", prompt="Once", logprobs=1)["choices"]
    scores = choice["logprobs"]
    assert choice["text"] == "a龘b🙂" and scores["text_offset"] == [0, 1, 1, 1, 2, 3, 3, 3, 3]
    assert scores["tokens"][:4] == ["a", r"bytes:\xe9", r"bytes:\xbe", r"bytes:\x98"]
    [choice] = post(client, COMPLETIONS, model="base", prompt="Once", logprobs=1, stop="b")["choices"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 1, 1], "of a stop string nothing is told"


def test_several_prompts_of_texts_and_tokens(client: httpx.Client) -> None:
    found = post(client, COMPLETIONS, model="base", prompt=["a", "b"], n=2)
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]
    assert sorted(SCRIPT.prompts) == ["<|endoftext|>a"] * 2 + ["<|endoftext|>b"] * 2
    assert found["usage"]["prompt_tokens"] == 4
    post(client, COMPLETIONS, model="base", prompt=[5, 6, 7])
    assert list(SCRIPT.asks[-1].prompt) == [5, 6, 7]
    refused = client.post(COMPLETIONS, json={"model": "base", "prompt": [5, 100_000]})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "prompt"
    crowd = client.post(COMPLETIONS, json={"model": "base", "prompt": ["a"] * 100, "n": 2})
    assert crowd.status_code == 400 and crowd.json()["error"]["param"] == "n"


def test_a_completion_in_a_stream(client: httpx.Client) -> None:
    body = {"model": "base", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    text = client.post(COMPLETIONS, json=body).text
    assert text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    *said, last = chunks
    assert "".join(chunk["choices"][0]["text"] for chunk in said) == GREETING
    assert [chunk["choices"][0]["finish_reason"] for chunk in said][-1] == "stop"
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == SCRIPT.written


def test_parameters_that_are_not_of_completions(client: httpx.Client) -> None:
    for name, value in (("suffix", "x"), ("best_of", 2), ("echo", True)):
        refused = client.post(COMPLETIONS, json={"model": "base", "prompt": "x", name: value})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == name


TEXTS = ["The quick brown fox", "你好，世界！", "The quick brown fox", ""]


@pytest.mark.parametrize("model", ["vectors", "chat"])
def test_vectors_are_those_of_embed(client: httpx.Client, places: Places, model: str) -> None:
    found = post(client, "/v1/embeddings", model=model, input=TEXTS)
    vectors = np.array([row["embedding"] for row in found["data"]], dtype=np.float32)
    wanted = Embedder.load(places.folder / model).embed(TEXTS)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    assert [row["index"] for row in found["data"]] == [0, 1, 2, 3] and found["usage"]["prompt_tokens"] > 4
    coded = post(client, "/v1/embeddings", model=model, input=TEXTS, encoding_format="base64")
    again = np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in coded["data"]])
    np.testing.assert_allclose(again, vectors, atol=1e-5)
    [short] = post(client, "/v1/embeddings", model=model, input=TEXTS[0], dimensions=8)["data"]
    np.testing.assert_allclose(short["embedding"], vectors[0, :8] / np.linalg.norm(vectors[0, :8]), atol=1e-5)
    refused = client.post("/v1/embeddings", json={"model": model, "input": "x", "dimensions": 999})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "dimensions"


def test_scores_are_the_judge_s(client: httpx.Client, places: Places) -> None:
    judge = RewardModel.load(places.judge)
    prompt, replies = Prompt((Message("user", "Why?"),)), ["Because.", "你好"]
    wanted = judge([prompt] * 2, replies)
    found = post(client, "/v1/score", model="judge", text_1="Why?", text_2=replies)
    assert [row["score"] for row in found["data"]] == pytest.approx(wanted, abs=1e-5)
    messages = [{"role": "user", "content": "Why?"}]
    found = post(client, "/v1/score", model="judge", messages=messages, replies=replies)
    assert [row["score"] for row in found["data"]] == pytest.approx(wanted, abs=1e-5)
    call = {"name": "f", "arguments": "{}"}
    calls = [{"type": "function", "function": call}]
    later = [*messages, {"role": "assistant", "tool_calls": calls}, {"role": "tool", "content": "1"}]
    written = Message("assistant", calls_text("", [call]))
    wanted = judge([Prompt((*prompt.messages, written, Message("tool", "1")))] * 2, replies)
    found = post(client, "/v1/score", model="judge", messages=later, replies=replies)
    assert [row["score"] for row in found["data"]] == pytest.approx(wanted, abs=1e-5)
    refused = client.post("/v1/score", json={"model": "judge", "text_1": ["a", "b"], "text_2": ["c"]})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "text_2"
    long = client.post("/v1/score", json={"model": "judge", "text_1": "a", "text_2": "word " * 3000})
    assert long.status_code == 400 and "context" in long.json()["error"]["message"]


def test_translations_are_translate_s(client: httpx.Client, places: Places) -> None:
    translator = Translator.load(places.translator)
    texts = ["The fox\n\njumps", "dog"]
    found = post(client, "/api/translate", model="translator", text=texts)
    first = translator.translate(["The fox", "", "jumps"])
    assert found["translations"] == ["\n".join(first), *translator.translate(["dog"])]
    found = post(client, "/api/translate", model="translator", text="dog", beams=1, max_tokens=3)
    assert len(found["translations"]) == 1


def test_a_full_desk_answers_429(places: Places) -> None:
    with running([places.vectors], queue=0) as server:
        model = server.served.models["vectors"]
        held, free = threading.Event(), threading.Event()

        def wait() -> None:
            held.set()
            free.wait(10)

        model.desk._thread.submit(wait)
        held.wait(10)
        body = {"model": "vectors", "input": "x"}
        found: list[int] = []
        route = f"{server.v1}/embeddings"
        first = threading.Thread(target=lambda: found.append(httpx.post(route, json=body).status_code))
        first.start()
        assert eventually(lambda: model.desk.present == 1)
        refused = httpx.post(route, json=body)
        assert refused.status_code == 429 and "retry-after" in refused.headers
        with pytest.raises(httpx.ReadTimeout):
            # who leaves gives the place back
            free.set(), first.join(10), held.clear(), free.clear()
            model.desk._thread.submit(wait)
            httpx.post(route, json=body, timeout=0.2)
        assert eventually(lambda: model.desk.present == 0)
        free.set()
        assert found == [200]


def test_what_is_served(client: httpx.Client, places: Places) -> None:
    listed = client.get("/v1/models").json()["data"]
    able = {model["id"]: model["abilities"] for model in listed}
    assert able == {
        "chat": ["chat", "completion", "embedding"],
        "tools": ["chat", "completion", "embedding"],
        "base": ["completion", "embedding"],
        "judge": ["score"],
        "vectors": ["embedding"],
        "translator": ["translation"],
    }
    assert client.get("/v1/models/judge").json()["id"] == "judge"
    assert client.get("/v1/models/none").json()["error"]["code"] == "model_not_found"
    info = client.get("/api/info").json()
    assert [model["id"] for model in info["models"]] == list(able) and info["votes"] is False
    assert all(model["context"] in (64, 512) for model in info["models"])


def test_names_of_runs_are_distinct(places: Places, tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "chat", tmp_path / "b" / "chat", tmp_path / "b" / "base"]
    assert distinct_names(paths) == ["a/chat", "b/chat", "base"]
    with pytest.raises(UserError, match="given twice"):
        find_runs([places.chat, places.folder / "base" / ".." / "chat"])
    with pytest.raises(UserError, match="no run at"):
        find_runs([tmp_path])
    twin = tmp_path / "chat"
    twin.symlink_to(places.tools)
    assert [known.id for known in find_runs([places.chat, places.base])] == ["chat", "base"]


def test_loading_is_told_apart_from_living(places: Places) -> None:
    from starlette.testclient import TestClient

    from chatwright.serving.app import build_app
    from chatwright.serving.options import ServerOptions

    options = ServerOptions(engine="scripted")
    served = Served(find_runs([places.chat]), options)
    with TestClient(build_app(served, options, log=lambda line: None), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503 and client.get("/ready").json() == {
            "status": "loading"
        }
        assert client.post("/v1/chat/completions", json=chat_body()).status_code == 503
        served.load()
        assert client.get("/ready").json() == {"status": "ready"}


def test_numbers_for_prometheus(places: Places) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with running([places.chat, places.base]) as server:
        httpx.post(f"{server.v1}/chat/completions", json=chat_body())
        httpx.post(f"{server.v1}/chat/completions", json=chat_body(model="<nobody>"))
        httpx.get(f"{server.address}/some/secret/path")
        assert eventually(lambda: len(server.log) == 3)
        found = httpx.get(f"{server.address}/metrics")
    assert "nobody" not in found.text and "secret" not in found.text
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(found.text)
        for sample in family.samples
    }
    route = ("route", "/v1/chat/completions")
    assert samples["chatwright_requests_total", (("method", "POST"), route, ("status", "200"))] == 1
    assert samples["chatwright_requests_total", (("method", "POST"), route, ("status", "404"))] == 1
    assert (
        samples["chatwright_requests_total", (("method", "GET"), ("route", "unknown"), ("status", "404"))]
        == 1
    )
    assert samples["chatwright_written_tokens_total", (("model", "chat"),)] == SCRIPT.written
    assert samples["chatwright_first_token_seconds_count", (("model", "chat"),)] == 1
    assert samples["chatwright_engine_running", (("model", "base"),)] == 0


def test_the_log_holds_no_text_unless_asked(places: Places) -> None:
    secret, reply = "my secret 你好\n\x1b[31m", "its answer"
    SCRIPT.reply = lambda _: reply
    for log_text in (False, True):
        with running([places.chat], log_text=log_text) as server:
            for stream in (False, True):
                httpx.post(f"{server.v1}/chat/completions", json=chat_body(secret, stream=stream))
            httpx.post(f"{server.v1}/completions", json={"model": "chat", "prompt": secret})
            httpx.post(f"{server.v1}/embeddings", json={"model": "chat", "input": secret})
            assert eventually(lambda server=server: len(server.log) == 4)  # type: ignore[misc]
            for line in server.log:
                assert ("secret" in line) is log_text and line.isascii() and line.isprintable()
            assert all("answer" not in line for line in server.log) is not log_text
            line = json.loads(server.log[0])
            assert (
                line["route"] == "/v1/chat/completions" and line["model"] == "chat" and line["status"] == 200
            )
            assert (
                line["completion_tokens"] > 0 and line["first_token_ms"] >= 0 and line["finish"] == ["stop"]
            )
