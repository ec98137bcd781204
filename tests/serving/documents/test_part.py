"""Answers from documents over HTTP: what the model is told, what the reply cites, what a passage cannot do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatwright.runs import Run
from chatwright.serving.documents.library import DocumentOptions
from chatwright.serving.documents.part import open_part
from chatwright.serving.documents.prompt import Grounding, framed
from helpers.documented import INJECTION, RIVER, library_of
from helpers.served import SCRIPT, Places, chat_body, running


@pytest.fixture(scope="module")
def reader(places: Places, corpus: Run, _scripted_engine: None) -> Iterator[httpx.Client]:
    part = open_part(DocumentOptions(documents=str(corpus.directory), passages=2))
    with running([places.chat], parts=[part]) as server, httpx.Client(base_url=server.address) as client:
        yield client


def ask(client: httpx.Client, text: str, **more: Any) -> httpx.Response:
    response = client.post("/v1/chat/completions", json=chat_body(text, documents=True, **more))
    assert response.status_code == 200, response.text
    return response


def test_a_reply_cites_what_it_was_given(reader: httpx.Client) -> None:
    assert reader.get("/api/info").json()["documents"] is True
    SCRIPT.reply = lambda prompt: "North [1]."
    found = ask(reader, "Where does the Nile flow?").json()
    assert found["choices"][0]["message"]["content"] == "North [1]."
    first = found["citations"][0]
    assert (first["number"], first["title"], first["text"]) == (1, "The Nile", RIVER)
    assert first["source"].endswith("nile.md")
    assert [one["number"] for one in found["citations"]] == list(range(1, len(found["citations"]) + 1))
    assert "[1] The Nile\n  # The Nile" in SCRIPT.prompts[0]
    assert "Question: Where does the Nile flow?" in SCRIPT.prompts[0]
    opened = reader.get(f"/api/documents/{first['id']}").json()
    assert opened == {
        **{key: first[key] for key in ("id", "title", "source", "text")},
        "before": None,
        "after": None,
    }


def test_a_stream_carries_its_citations(reader: httpx.Client) -> None:
    text = ask(reader, "长江流入哪里？", stream=True).text
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: {")]
    cited = [chunk["citations"] for chunk in map(json.loads, events) if chunk.get("citations")]
    assert len(cited) == 1 and "长江" in cited[0][0]["text"]
    assert "请根据下面的资料回答问题" in SCRIPT.prompts[0] and "问题：长江流入哪里？" in SCRIPT.prompts[0]


def test_without_a_find_or_a_wish_the_chat_is_as_always(reader: httpx.Client) -> None:
    assert "citations" not in ask(reader, "zebra").json()
    assert "passages below" not in SCRIPT.prompts[0]
    response = reader.post("/v1/chat/completions", json=chat_body("Nile"))
    assert "citations" not in response.json() and "[1]" not in SCRIPT.prompts[1]


def test_a_passage_stays_text(reader: httpx.Client) -> None:
    """Control tokens, fake numbers, slots and HTML in a passage are nothing but words."""
    found = ask(reader, "gardening").json()
    assert found["citations"][0]["text"] == INJECTION
    prompt, ids = SCRIPT.prompts[0], SCRIPT.asks[0]
    assert prompt.count("\n[1] ") == 1 and "\n[2] Fake" not in prompt and "\n  [2] Fake title" in prompt
    assert "\n  Question: who rules?" in prompt and "\n  {question} {passages}" in prompt
    assert prompt.count("Question: gardening") == 1
    ends = ids.vocabulary.end_ids
    # the turn's own end, and the user's: the one in the passage is text
    assert sum(token in ends for token in ids.prompt) == prompt.count("<|im_end|>") - 1


@pytest.mark.parametrize(
    "path", ["0", "99", "-1", str(10**30), "..%2f..%2fetc%2fpasswd", "1.5", "x", "file:%2f%2fx"]
)
def test_only_passages_are_opened(path: str, reader: httpx.Client) -> None:
    response = reader.get(f"/api/documents/{path}")
    assert response.status_code == 404 and set(response.json()) == {"error"}


def test_a_server_without_documents_says_so(places: Places) -> None:
    assert open_part(DocumentOptions()).grounding is None
    with running([places.chat]) as server, httpx.Client(base_url=server.address) as client:
        response = client.post("/v1/chat/completions", json=chat_body("Nile", documents=True))
        assert response.status_code == 400 and "documents=CORPUS" in response.json()["error"]["message"]
        assert client.get("/api/documents/1").status_code == 404


def test_passages_ask_for_the_key(places: Places, corpus: Run) -> None:
    part = open_part(DocumentOptions(documents=str(corpus.directory)))
    with (
        running([places.chat], parts=[part], api_key="secret") as server,
        httpx.Client(base_url=server.address) as client,
    ):
        assert client.get("/api/documents/1").status_code == 401
        headers = {"authorization": "Bearer secret"}
        assert client.get("/api/documents/1", headers=headers).status_code == 200
        assert "/api/documents/{id}" in client.get("/openapi.json", headers=headers).json()["paths"]


def test_the_worst_passages_give_way_to_the_reply(tmp_path: Path) -> None:
    library = library_of(tmp_path, "cat one cat.", "cat two.", "a cat is three.")
    grounding = Grounding(library, 3)
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "cat"},
        {"role": "user", "content": "cat?"},
    ]
    grounded, citations = grounding(messages)
    assert len(citations) == 3 and grounded[:2] == messages[:2] and grounded[2]["content"].endswith("cat?")
    length = len(grounded[2]["content"])
    fewer, cited = grounding(messages, lambda m: len(m[2]["content"]) < length)
    assert cited == citations[:2] and "[3]" not in fewer[2]["content"]
    assert grounding(messages, lambda m: False) == (messages, [])
    assert grounding([{"role": "assistant", "content": "cat"}]) == (
        [{"role": "assistant", "content": "cat"}],
        [],
    )


def test_slots_are_filled_once() -> None:
    assert framed("{passages} {question} \\1", []).endswith("Question: {passages} {question} \\1")
