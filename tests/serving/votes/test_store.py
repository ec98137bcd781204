"""The vote store in SQLite and PostgreSQL: what goes in comes out, whatever it says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest
from sqlalchemy import create_engine, inspect

from chatwright.errors import UserError
from chatwright.serving.votes import store as module
from chatwright.serving.votes.database import TABLES, database_url
from chatwright.serving.votes.records import Battle, Item, Vote
from chatwright.serving.votes.store import VoteStore
from helpers.voted import HOSTILE, arena, asked, thumb


def item(text: str = "What is 1?", replies: tuple[str, ...] = ("a", "b")) -> Item:
    return Item(asked(text), list(replies), [""] * len(replies), [{}] * len(replies), "file:1")


def ranked(item: Item, ranks: list[int], name: str = "") -> Vote:
    return Vote(
        "ranking", item.messages, item.replies, item.models, item.samplings, ranks, name=name, item=item.id
    )


def test_a_vote_comes_back_as_it_was(store: VoteStore) -> None:
    before = time.time()
    given = arena(
        (1, 0), samplings=[{"temperature": 0.5}, {}], value=-1, reason="why", better="best", name="Ann"
    )
    assert store.add(given) == 1
    assert store.add(thumb(created=5.0)) == 2
    first, second = store.votes()
    assert before <= first.created <= time.time()
    same = {"replies": ["good", "bad"], "models": ["x", "y"], "ranks": [1, 0]}
    assert first == replace(given, created=first.created, id=1, **same)
    assert second.created == 5.0 and second.value == 1 and second.item is None


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_touches_the_statements_or_the_tables(text: str, store: VoteStore, database: str) -> None:
    name = text.encode("utf-8", "ignore").decode().replace("\x00", "")
    store.add(thumb(text=text, reply=text, reason=text, better=text, name=name))
    [vote] = store.votes()
    assert vote.messages[0]["content"] == vote.replies[0] == vote.reason == vote.better == text
    assert vote.name == name
    assert store.enqueue([item(text, (text, "other"))]) == 1
    queue = store.queue(name)
    assert queue.item is not None and queue.item.replies == [text, "other"]
    battle = store.begin_battle(Battle("", asked(text), ("x", "y"), ({}, {})))
    store.reply(battle.id, "a", text)
    assert store.battle(battle.id) == replace(battle, replies=(text, None))
    assert store.battle(text) is None
    engine = create_engine(database_url(database))
    assert set(inspect(engine).get_table_names()) == set(TABLES.tables)
    engine.dispose()


def test_votes_are_read_page_by_page(store: VoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    for number in range(8):
        store.add(thumb(reply=str(number)))
    assert [vote.replies[0] for vote in store.votes()] == [str(number) for number in range(8)]


def test_the_queue_serves_everyone_what_they_have_not_ranked(store: VoteStore) -> None:
    assert store.queue().item is None and store.queue().total == 0
    assert store.enqueue([item("one"), item("two")]) == 2
    assert store.enqueue([item("two", ("b", "a")), item("three")]) == 1, "the same replies in another order"
    first = store.queue("Ann").item
    assert first is not None and first.messages == asked("one") and first.source == "file:1"
    store.rank(ranked(first, [0, 1], "Ann"))
    assert (store.queue("Ann").done, store.queue("Ann").total) == (1, 3)
    second = store.queue("Ann").item
    assert second is not None and second.messages == asked("two")
    other = store.queue("Bo")
    assert other.done == 0 and other.item is not None and other.item.messages == asked("two"), (
        "fewest votes first"
    )
    assert store.progress().done == 1
    store.rank(ranked(first, [1, 0], "Bo"))
    assert (store.progress().done, store.progress().total) == (1, 3)
    while (left := store.queue("Ann")).item is not None:
        store.rank(ranked(left.item, [0, 1], "Ann"))
        assert left.done < 3
    assert (left.done, left.total) == (3, 3)


def test_a_ranking_replaces_the_same_person_s(store: VoteStore) -> None:
    store.enqueue([item()])
    one = store.queue().item
    assert one is not None
    store.rank(ranked(one, [0, 1], "Ann"))
    store.rank(ranked(one, [], "Bo"))
    store.rank(ranked(one, [1, 0], "Ann"))
    found = store.rankings([one.key, "0" * 64])
    assert [list(ranks) for _, ranks in found[one.key]] == [[], [1, 0]] and len(found) == 1
    assert all(replies == ["a", "b"] for replies, _ in found[one.key])


def test_replies_are_filled_in_once(store: VoteStore) -> None:
    store.enqueue([item("open", ())])
    empty = store.queue().item
    assert empty is not None and empty.replies == []
    filled = replace(item("open", ("x", "y")), id=empty.id)
    assert store.fill(filled).replies == ["x", "y"]
    assert store.fill(replace(filled, replies=["p", "q"])).replies == ["x", "y"]
    store.enqueue([item("dull", ())])
    dull = store.item(empty.id + 1)
    assert dull is not None
    store.fill(replace(item("dull", ("same",)), id=dull.id))
    assert store.queue().total == 1, "one reply alone is nothing to rank"


def test_a_battle_ends_once(store: VoteStore) -> None:
    battle = store.begin_battle(Battle("", asked(), ("x", "y"), ({"temperature": 1.0}, {})))
    assert len(battle.id) >= 20 and store.battle(battle.id) == battle
    store.reply(battle.id, "b", "two")
    store.reply(battle.id, "a", "one")
    found = store.battle(battle.id)
    assert found is not None and found.replies == ("one", "two")
    vote = arena((0, 1))
    assert store.end_battle(battle.id, vote) and not store.end_battle(battle.id, vote)
    store.reply(battle.id, "a", "late")
    assert store.battle(battle.id) is None and len(list(store.votes())) == 1


def test_a_battle_that_nobody_decides_is_forgotten(local: VoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    old = local.begin_battle(Battle("", asked(), ("x", "y"), ({}, {})))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    local.begin_battle(Battle("", asked(), ("x", "y"), ({}, {})))
    assert local.battle(old.id) is None


def test_many_vote_at_once(store: VoteStore) -> None:
    def vote(number: int) -> None:
        for turn in range(5):
            store.add(thumb(reply=f"{number} {turn}"))

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({vote.replies[0] for vote in store.votes()}) == 30


def test_one_process_reads_while_another_writes(database: str) -> None:
    one, other = VoteStore.open(database), VoteStore.open(database)
    one.add(thumb(reply="first"))
    reading = other.votes()
    assert next(reading).replies == ["first"]
    one.add(thumb(reply="second"))
    assert [vote.replies for vote in reading] == [["second"]]
    one.close()
    other.close()


def test_whoever_comes_while_another_makes_the_file_waits(tmp_path: Path) -> None:
    place = tmp_path / "votes.sqlite"
    maker = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    later = threading.Timer(0.3, lambda: maker.execute("ROLLBACK"))
    later.start()
    VoteStore.open(place).close()
    later.join()
    maker.close()


def test_processes_that_come_first_at_once(database: str) -> None:
    code = (
        "import sys; from chatwright.serving.votes.store import VoteStore; print(flush=True); sys.stdin.read(1); "
        f"VoteStore.open({database!r}).close()"
    )
    found = [
        subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        for _ in range(4)
    ]
    for process in found:
        assert process.stdout is not None and process.stdout.readline() == "\n"
    for process in found:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    for process in found:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


def test_a_run_s_folder_holds_its_votes(tmp_path: Path) -> None:
    VoteStore.open(tmp_path).close()
    assert (tmp_path / "votes.sqlite").is_file()
    VoteStore.open(tmp_path, create=False).close()
    VoteStore.open(tmp_path / "new" / "my.db").close()
    assert (tmp_path / "new" / "my.db").is_file()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "there is no folder"),
        ("notes.txt", "a file named *.sqlite"),
        ("mysql://host/name", "SQLite or PostgreSQL, not in 'mysql'"),
        ("://", "the address of the database cannot be read"),
        ("postgresql://me:secret@127.0.0.1:1/none", "cannot be used"),
    ],
)
def test_what_is_no_database_is_refused(
    place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError) as refused:
        VoteStore.open(place)
    assert (
        said in str(refused.value) and "\n" not in str(refused.value) and "secret" not in str(refused.value)
    )


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no votes at"):
        VoteStore.open(tmp_path, create=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "votes.sqlite").write_bytes(b"no database " * 100)
    with pytest.raises(UserError, match="not a database"):
        VoteStore.open(tmp_path)
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(UserError, match="holds no votes"):
        VoteStore.open(tmp_path / "empty.db", create=False)
