"""Thumbs, arena, labelling, export and summary over HTTP, on a server whose replies are known."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from chatwright.data.preferences import read_comparisons
from chatwright.serving.votes.records import Item
from chatwright.serving.votes.routes import _groups
from chatwright.serving.votes.store import VoteStore
from helpers.served import SCRIPT, Places, eventually
from helpers.voted import HOSTILE, asked, voting


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoteStore]:
    opened = VoteStore.open(tmp_path_factory.mktemp("votes"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def voter(places: Places, shared: VoteStore, _scripted_engine: None) -> Iterator[httpx.Client]:
    """Two chat models and a base model, votes kept in `shared`."""
    with voting([places.chat, places.tools, places.base], shared, labelling_replies=3) as client:
        yield client


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def refused(client: httpx.Client, path: str, status: int, **body: Any) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def thumb(**more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": asked(), "reply": "One.", "value": 1, **more}


def said(client: httpx.Client, path: str, **body: Any) -> str:
    """The text that a side streams; every chunk speaks under the side's name."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["model"] for chunk in chunks} == {path.split("/")[-2]}
    assert all(not chunk["system_fingerprint"] and "usage" not in chunk for chunk in chunks)
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_the_page_is_told_that_there_are_votes(voter: httpx.Client) -> None:
    found = voter.get("/api/info").json()
    assert found["votes"] is True and found["labelling"] is False


def test_a_thumb_is_kept(voter: httpx.Client, shared: VoteStore) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "1?"}]
    messages = [{"role": "developer", "content": "Brief."}, {"role": "user", "content": parts}]
    body = thumb(
        messages=messages, value=-1, reason="wrong", better="1", name=" Ann\n\x1b B ", sampling={"seed": 1}
    )
    id = post(voter, "/api/votes", **body)["id"]
    vote = next(vote for vote in shared.votes() if vote.id == id)
    assert vote.messages == [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "What is 1?"},
    ]
    assert (vote.value, vote.reason, vote.better, vote.name) == (-1, "wrong", "1", "Ann B")
    assert vote.models == ["chat"] and vote.samplings == [{"seed": 1}] and vote.kind == "thumb"


def test_a_thumb_is_changed_and_stays_one_vote(voter: httpx.Client, shared: VoteStore) -> None:
    before = len(list(shared.votes()))
    id = post(voter, "/api/votes", **thumb(reply="To be changed."))["id"]
    later = thumb(reply="To be changed.", value=-1, better="Changed.", reason="why not", id=id)
    assert post(voter, "/api/votes", **later) == {"id": id}
    votes = list(shared.votes())
    assert len(votes) == before + 1
    vote = next(vote for vote in votes if vote.id == id)
    assert (vote.value, vote.better, vote.reason) == (-1, "Changed.", "why not") and vote.created > 0
    for other in ({"reply": "Another."}, {"id": id + 99}):
        error = refused(voter, "/api/votes", 404, **{**later, **other})
        assert error["message"] == "there is no such vote on this reply"
    assert next(vote for vote in shared.votes() if vote.id == id) == vote


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"value": 0}, 400, "value"),
        ({"value": "1"}, 400, "value"),
        ({"reply": ""}, 400, "reply"),
        ({"reply": "x" * 200_001}, 400, "reply"),
        ({"reason": "x" * 4001}, 400, "reason"),
        ({"name": "x" * 81}, 400, "name"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [*asked(), {"role": "assistant", "content": "One."}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        ({"sampling": {"x y": 1}}, 400, None),
        ({"sampling": {"x": {"deep": 1}}}, 400, None),
        ({"more": 1}, 400, "more"),
        ({"model": "chatt"}, 404, "model"),
    ],
)
def test_a_thumb_that_is_none_is_refused(
    change: dict[str, Any], status: int, param: str | None, voter: httpx.Client, shared: VoteStore
) -> None:
    before = len(list(shared.votes()))
    error = refused(voter, "/api/votes", status, **thumb(**change))
    assert param is None or error["param"] == param
    assert len(list(shared.votes())) == before


def test_a_form_of_another_site_casts_no_vote(voter: httpx.Client) -> None:
    response = voter.post("/api/votes", content=json.dumps(thumb()), headers={"content-type": "text/plain"})
    assert response.status_code == 415


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\ud800" not in text])
def test_hostile_texts_come_back_from_the_export_as_text(text: str, voter: httpx.Client) -> None:
    post(
        voter,
        "/api/votes",
        **thumb(messages=asked(text + "?"), reply=text + ".", value=-1, better=text, name=text[:80]),
    )
    response = voter.get("/api/votes/export.jsonl")
    assert response.headers["content-type"].startswith("application/jsonl")
    assert response.headers["x-content-type-options"] == "nosniff"
    row = json.loads(response.text.rstrip("\n").split("\n")[-1])
    assert (row["prompt"][0]["content"], row["chosen"], row["rejected"]) == (text + "?", text, text + ".")


def test_a_battle_from_its_begin_to_its_end(voter: httpx.Client, shared: VoteStore) -> None:
    SCRIPT.reply = lambda prompt: "你好 from tools" if "Tools" in prompt else "你好"
    begun = post(voter, "/api/arena", messages=asked())
    assert set(begun) == {"id"}
    place = f"/api/arena/{begun['id']}"
    error = refused(voter, f"{place}/vote", 409, winner="a")
    assert error["code"] == "unanswered"
    first = said(voter, f"{place}/a/chat", messages=asked(), temperature=0.5, max_tokens=50)
    assert refused(voter, f"{place}/vote", 409, winner="a")
    second = said(voter, f"{place}/b/chat")
    assert first == second == "你好"
    told = post(voter, f"{place}/vote", winner="b", reason="nicer", name="Ann")
    assert {told["a"], told["b"]} == {"chat", "tools"} and told["sampling"] == {"a": {}, "b": {}}
    vote = list(shared.votes())[-1]
    assert vote.kind == "arena" and vote.ranks == [1, 0] and vote.models == [told["a"], told["b"]]
    assert vote.replies == ["你好", "你好"] and vote.reason == "nicer" and vote.name == "Ann"
    assert refused(voter, f"{place}/vote", 404, winner="a")["code"] == "not_found"
    assert refused(voter, f"{place}/a/chat", 404)


def test_nothing_tells_who_is_who_before_the_vote(places: Places, local: VoteStore) -> None:
    """One side's context is much shorter: the refusal that follows from it names neither."""
    SCRIPT.reply = lambda prompt: "x"
    with voting([places.chat, places.tools], local) as client:
        begun = client.post("/api/arena", json={"messages": asked("word " * 3000)})
        assert begun.status_code == 200
        for side in "ab":
            response = client.post(f"/api/arena/{begun.json()['id']}/{side}/chat", json={})
            assert response.status_code == 400
            assert response.json()["error"]["message"].startswith(f"the side {side} cannot answer this")
            for text in (response.text, str(response.headers)):
                assert "512" not in text and '"chat"' not in text and "tools" not in text
        battle = local.battle(begun.json()["id"])
        assert battle is not None and set(battle.models) == {"chat", "tools"}


def test_sides_and_messages_of_a_battle_are_held_to(voter: httpx.Client) -> None:
    place = f"/api/arena/{post(voter, '/api/arena', messages=asked())['id']}"
    assert refused(voter, f"{place}/c/chat", 404)
    assert "both sides answer" in refused(voter, f"{place}/a/chat", 400, messages=asked("other?"))["message"]
    assert refused(voter, f"{place}/a/chat", 400, n=2)["param"] == "n"
    assert refused(voter, f"{place}/a/chat", 400, tools=[])
    assert refused(voter, f"{place}/vote", 400, winner="c")["param"] == "winner"
    assert refused(voter, "/api/arena", 404, messages=asked(), models=["nobody"])
    assert refused(voter, "/api/arena", 400, messages=asked(), models=["base"])["code"] == "model_not_able"
    assert refused(voter, "/api/arena/..%2f..%2fetc/vote", 404, winner="a")


def test_one_model_meets_itself_with_two_samplings(voter: httpx.Client) -> None:
    place = f"/api/arena/{post(voter, '/api/arena', messages=asked(), models=['chat'])['id']}"
    SCRIPT.reset()
    for side in "ab":
        said(voter, f"{place}/{side}/chat", temperature=0.9, top_k=3)
    assert sorted(ask.sampling.temperature for ask in SCRIPT.asks) == [0.3, 1.0]
    assert [ask.sampling.top_k for ask in SCRIPT.asks] == [3, 3]
    told = post(voter, f"{place}/vote", winner="both_bad")
    temperatures = [ask.sampling.temperature for ask in SCRIPT.asks]
    assert told["a"] == told["b"] == "chat"
    assert [told["sampling"][side]["temperature"] for side in "ab"] == temperatures


def test_a_stopped_side_is_judged_by_what_was_seen(voter: httpx.Client, shared: VoteStore) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda prompt: "word " * 200, 0.01
    id = post(voter, "/api/arena", messages=asked())["id"]
    with voter.stream("POST", f"/api/arena/{id}/a/chat", json={}) as response:
        for line in response.iter_lines():
            if '"content":"w' in line:
                break

    def kept() -> bool:
        battle = shared.battle(id)
        return battle is not None and battle.replies[0] is not None

    assert eventually(kept) and eventually(lambda: SCRIPT.cancelled == 1)
    battle = shared.battle(id)
    assert battle is not None and battle.replies[0] is not None
    assert battle.replies[0].startswith("w") and len(battle.replies[0]) < 900


def test_the_queue_over_http(places: Places, local: VoteStore) -> None:
    local.enqueue([Item(asked("one"), ["p", "q", "r"], ["m", "m", "k"], [{}, {}, {}], "file:1")])
    with voting([places.chat], local) as client:
        assert client.get("/api/info").json()["labelling"] is True
        found = client.get("/api/labelling").json()
        assert found == {
            "id": found["id"],
            "prompt": "one",
            "messages": asked("one"),
            "replies": ["p", "q", "r"],
            "done": 0,
            "total": 1,
        }
        place = f"/api/labelling/{found['id']}"
        for ranking in ([[0], [1]], [[0, 1], [1]], [[0], [1], [3]], [[0], [1], [2, 2]]):
            assert refused(client, place, 400, ranking=ranking)["param"] == "ranking"
        post(client, place, ranking=[[2], [0, 1]], name="Ann")
        assert client.get("/api/labelling", params={"name": " Ann"}).json() == {"done": 1, "total": 1}
        assert client.get("/api/labelling").json()["done"] == 0
        post(client, place, ranking=[])
        assert client.get("/api/labelling").json() == {"done": 1, "total": 1}
        assert refused(client, "/api/labelling/99", 404, ranking=[[0]])
        assert refused(client, f"/api/labelling/{10**30}", 404, ranking=[[0]])
    assert [(vote.name, vote.ranks) for vote in local.votes()] == [("Ann", [1, 1, 0]), ("", [])]


def test_prompts_are_answered_within_the_servers_limits(places: Places, local: VoteStore) -> None:
    numbers = iter(range(100))
    SCRIPT.reply = lambda prompt: f"{next(numbers)} " + "word " * 40
    local.enqueue([Item(asked("open"))])
    with voting([places.chat], local, max_tokens=16, labelling_replies=3, labelling_tokens=512) as client:
        found = client.get("/api/labelling").json()
        assert len(found.get("replies", ())) == 3, found


def test_many_replies_are_sampled_in_groups_that_fit() -> None:
    model: Any = SimpleNamespace(writer=SimpleNamespace(engine=SimpleNamespace(most=3)))
    assert [_groups(count, model) for count in (1, 3, 7)] == [[1], [3], [3, 3, 1]]


def test_prompts_without_replies_are_answered_when_their_turn_comes(
    voter: httpx.Client, shared: VoteStore
) -> None:
    numbers = iter(range(100))
    SCRIPT.reply = lambda prompt: f"reply {next(numbers)}"
    shared.enqueue([Item(asked("open one")), Item(asked("open two"))])
    found: list[Any] = []

    def ask() -> None:
        found.append(voter.get("/api/labelling", params={"name": "Zoe"}).json())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == found[0] for one in found), "sampled once for everyone"
    assert sorted(found[0]["replies"]) == ["reply 0", "reply 1", "reply 2"]
    item = shared.item(found[0]["id"])
    assert item is not None and sorted(item.models) == ["chat", "chat", "tools"]
    assert all(ask.sampling.temperature == 1.0 for ask in SCRIPT.asks) and len(SCRIPT.asks) == 3
    SCRIPT.reply = lambda prompt: "the same"
    post(voter, f"/api/labelling/{found[0]['id']}", ranking=[[0], [1], [2]], name="Zoe")
    assert voter.get("/api/labelling", params={"name": "Zoe"}).json() == {"done": 1, "total": 1}


def test_export_and_summary(places: Places, local: VoteStore, tmp_path: Path) -> None:
    with voting([places.chat], local) as client:
        for number in range(3):
            post(client, "/api/votes", **thumb(reply=f"bad {number}", value=-1, better=f"good {number}"))
        found = client.get("/api/votes/summary").json()
        assert found["votes"] == 3 and found["thumbs"][0]["down"] == 3
        file = tmp_path / "p.jsonl"
        file.write_bytes(client.get("/api/votes/export.jsonl?kind=preferences").content)
        assert [one.replies for one in read_comparisons(file)] == [
            (f"good {n}", f"bad {n}") for n in range(3)
        ]
        assert len(client.get("/api/votes/export.jsonl?kind=votes").text.splitlines()) == 3
        response = client.get("/api/votes/export.jsonl?kind=../x")
        assert response.status_code == 400 and response.json()["error"]["param"] == "kind"


def test_every_route_asks_for_the_key(places: Places, local: VoteStore) -> None:
    routes = [
        ("POST", "/api/votes"),
        ("POST", "/api/arena"),
        ("POST", "/api/arena/x/a/chat"),
        ("POST", "/api/arena/x/vote"),
        ("GET", "/api/labelling"),
        ("POST", "/api/labelling/1"),
        ("GET", "/api/votes/export.jsonl"),
        ("GET", "/api/votes/summary"),
    ]
    with voting([places.chat], local, api_key="secret") as client:
        for method, path in routes:
            assert client.request(method, path, json=thumb()).status_code == 401, path
        told = client.get("/openapi.json", headers={"authorization": "Bearer secret"}).json()
    described = {
        (method.upper(), path)
        for path, item in told["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert {
        (method, path.replace("/x", "/{id}").replace("/1", "/{id}").replace("/a/", "/{side}/"))
        for method, path in routes
    } <= described
