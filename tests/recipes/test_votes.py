"""`votes`, the rows that it writes for the verbs that learn from them, and the loop that goes on from the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright import registry
from chatwright.cli import main
from chatwright.errors import Interrupted, UserError
from chatwright.recipes.votes import votes
from chatwright.serving.votes.records import Vote
from chatwright.serving.votes.store import VoteStore
from helpers.journey import Journey
from helpers.judged import read_rows
from helpers.looped import make_place, write_recipe
from helpers.served import make_places
from helpers.texts import sentences
from helpers.voted import arena, thumb, voting

FIXED: dict[str, Any] = {"steps": 2, "batch": 8, "learning_rate": 1e-3, "precision": "float32"}


def filled(place: Path, count: int = 20) -> Path:
    """A run's folder with votes of every kind: battles, rankings of three, thumbs with better answers."""
    store = VoteStore.open(place)
    for number, text in enumerate(sentences(count)):
        ask = f"What is {number}?"
        store.add(arena((1, 0), replies=(text[:7], text), text=ask, name="Ann"))
        if number % 3 == 0:
            store.add(arena((0, 1), replies=(text, text[:7]), text=ask, name="Bo"))
        if number % 4 == 0:
            store.add(thumb(-1, text[:5], better=text, text=ask))
            store.add(thumb(1, text, text=ask))
            more = ("x", "y", "z")
            store.add(arena((0, 1, 1), more, (text, text[:3], text[:9]), kind="ranking", text=ask))
    store.close()
    return place


def test_votes_become_a_reward_model_and_a_policy(journey: Journey, tmp_path: Path) -> None:
    filled(tmp_path)
    for kind, rows in (("preferences", 42), ("rankings", 37), ("labelled", 15)):
        told = votes(tmp_path, tmp_path / f"{kind}.jsonl", kind=kind)
        assert told["rows"] == rows == len(read_rows(tmp_path / f"{kind}.jsonl"))
    for kind in ("preferences", "rankings"):
        judge = cw.reward(journey.chat, tmp_path / f"{kind}.jsonl", tmp_path / f"judge-{kind}", **FIXED)
        assert judge.finished
    policy = cw.dpo(journey.chat, tmp_path / "rankings.jsonl", tmp_path / "dpo", **FIXED)
    assert policy.finished
    assert cw.kto(
        journey.chat, tmp_path / "labelled.jsonl", tmp_path / "kto", **{**FIXED, "batch": 8}
    ).finished


def test_the_table_says_who_wins_and_how_sure_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = votes(filled(tmp_path))
    said = capsys.readouterr().out
    assert told["votes"] == 42 and "out" not in told
    assert (
        "42 votes (27 in the arena, 10 thumbs, 5 rankings) by 2 people by name and 15 without a name" in said
    )
    assert "  x against y: 37.5% (" in said and "12 won, 0 tied, 20 lost)" in said
    assert "strength (Bradley-Terry" in said
    assert "agreement: 100.0% (64.6% to 100.0%) on 7 comparisons that 2 people share" in said
    assert "  chat: 5 up, 5 down, 50.0% (" in said


def test_names_of_models_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = VoteStore.open(tmp_path)
    store.add(thumb(model="m\x1b[2J\r\n"))
    store.close()
    votes(tmp_path)
    assert "\x1b" not in capsys.readouterr().out


def test_a_server_s_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = make_places(tmp_path / "models")
    monkeypatch.setitem(registry.TABLES["engine"], "scripted", "helpers.served:ScriptedEngine")
    registry.table.cache_clear()
    store = VoteStore.open(filled(tmp_path))
    try:
        with voting([places.chat], store, api_key="secret") as client:
            address = str(client.base_url)
            with pytest.raises(
                UserError, match=r"refuses .401 Unauthorized.; put its key into CHATWRIGHT_API_KEY"
            ):
                votes(address)
            monkeypatch.setenv("CHATWRIGHT_API_KEY", "secret")
            told = votes(address, tmp_path / "p.jsonl")
            assert told["votes"] == 42 and told["rows"] == 42
            with pytest.raises(UserError, match="404"):
                votes(f"{address}/elsewhere")
        with pytest.raises(UserError, match="does not answer"):
            votes(address)
    finally:
        store.close()
        registry.table.cache_clear()
    local = votes(tmp_path, tmp_path / "l.jsonl")
    assert (tmp_path / "l.jsonl").read_bytes() == (tmp_path / "p.jsonl").read_bytes()
    assert {**local, "source": ""} | {"out": ""} == {**told, "source": ""} | {"out": ""}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path)
    assert main(["votes", str(tmp_path), "-o", str(tmp_path / "p.jsonl"), "kind=labelled", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1])["rows"] == 15
    assert "15 rows of labelled in" in shown.err and "left out: 32 × vote without labelled" in shown.err
    for words, said in (
        ([str(tmp_path / "none")], "there is no folder"),
        ([str(tmp_path), "kind=all"], "kind=all is not one of preferences"),
        (["http://"], "should be the address of a server"),
    ):
        assert main(["votes", *words]) == 2
        refused = capsys.readouterr().err
        assert said in refused and refused.count("\n") == 1


def test_a_password_stays_unsaid(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        votes("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(refused.value)


def vote_all(database: Path) -> int:
    """Rank everything that waits on the page, by the share of e's."""
    store, count = VoteStore.open(database), 0
    while (item := store.queue().item) is not None:
        points = [reply.count("e") / (1 + len(reply)) for reply in item.replies]
        order = sorted(set(points), reverse=True)
        found = [order.index(point) for point in points]
        store.rank(
            Vote("ranking", item.messages, item.replies, item.models, item.samplings, found, item=item.id)
        )
        count += 1
    store.close()
    return count


def test_the_loop_goes_on_from_the_page_s_votes(journey: Journey, tmp_path: Path) -> None:
    place, database = make_place(tmp_path), tmp_path / "page"
    database.mkdir()
    judge = {"name": "votes", "database": str(database)}
    recipe = write_recipe(place, journey, rounds=1, judge=judge)
    with pytest.raises(Interrupted, match="comparisons are open; rank them on the page"):
        cw.align(recipe, tmp_path / "aligned")
    assert vote_all(database) > 0
    with pytest.raises(Interrupted, match="comparisons are open"):
        cw.align(recipe, tmp_path / "aligned")
    vote_all(database)
    run = cw.align(recipe, tmp_path / "aligned")
    assert run.finished and run.result["rounds"][0]["comparisons"] > 0
    told = votes(database)
    assert told["queue"]["done"] == told["queue"]["total"] == told["votes"] > 8
