"""The vote store: votes, the labelling queue and open battles in SQLite or PostgreSQL."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from chatwright.runs import Run
from chatwright.serving.votes.database import BATTLES, ITEMS, VOTES, open_database
from chatwright.serving.votes.records import Battle, Item, Queue, Side, Vote

_PAGE = 500
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A battle that nobody decided is forgotten after a day.
_BATTLE_SECONDS = 24 * 3600.0


class VoteStore:
    """Votes by whoever gives them. All methods may be called from any thread and by several processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, place: str | Path | Run, create: bool = True) -> Self:
        """The store of a run's folder, of a file, or at a database's address.

        Raises UserError where it cannot be used or, without `create`, is not there.
        """
        return cls(open_database(place, create))

    def close(self) -> None:
        self._engine.dispose()

    def add(self, vote: Vote) -> int:
        """Keep a vote; returns its number. The time is now unless the vote has one."""
        with self._engine.begin() as connection:
            return _insert(connection, vote)

    def change(self, number: int, vote: Vote) -> bool:
        """Put a thumb in the place of an earlier one on the same reply; False where there is none such."""
        earlier = (VOTES.c.id == number) & (VOTES.c.kind == "thumb")
        with self._engine.begin() as connection:
            found = connection.execute(select(VOTES).where(earlier)).mappings().first()
            about = (list(vote.messages), list(vote.replies), list(vote.models))
            if found is None or tuple(list(found[key]) for key in ("messages", "replies", "models")) != about:
                return False
            row = {key: value for key, value in asdict(vote).items() if key not in ("id", "created")}
            connection.execute(update(VOTES).where(earlier).values(row))
        return True

    def votes(self) -> Iterator[Vote]:
        """All votes, the first one first; those that are added meanwhile may be among them."""
        last = 0
        while True:
            page = select(VOTES).where(VOTES.c.id > last).order_by(VOTES.c.id).limit(_PAGE)
            with self._engine.connect() as connection:
                rows = connection.execute(page).mappings().all()
            if not rows:
                return
            yield from (Vote(**row) for row in rows)
            last = rows[-1]["id"]

    def enqueue(self, items: Iterable[Item]) -> int:
        """Put comparisons into the labelling queue; those that are in it already stay as they are. Returns how many are
        new."""
        rows = [_item_row(item) for item in items]
        if not rows:
            return 0
        insert_item = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        add = insert_item(ITEMS).on_conflict_do_nothing(index_elements=["key"])
        with self._engine.begin() as connection:
            before = _count(connection)
            connection.execute(add, rows)
            return _count(connection) - before

    def queue(self, name: str = "") -> Queue:
        """How far `name` is, and the next comparison that they have not ranked: of these the one that the fewest
        people have."""
        times = select(func.count()).where(VOTES.c.item == ITEMS.c.id).scalar_subquery()
        mine = select(VOTES.c.item).where(VOTES.c.name == name, VOTES.c.item.is_not(None))
        wanted = select(ITEMS).where(_is_open(), ITEMS.c.id.not_in(mine)).order_by(times, ITEMS.c.id).limit(1)
        done = select(func.count()).where(_is_open(), ITEMS.c.id.in_(mine))
        with self._engine.connect() as connection:
            total = connection.scalar(select(func.count()).select_from(ITEMS).where(_is_open())) or 0
            row = connection.execute(wanted).mappings().first()
            finished = connection.scalar(done) or 0
        return Queue(finished, total, _item(row) if row else None)

    def progress(self) -> Queue:
        """How many comparisons of the queue anybody has ranked."""
        ranked = select(VOTES.c.item).where(VOTES.c.item.is_not(None))
        with self._engine.connect() as connection:
            total = connection.scalar(select(func.count()).select_from(ITEMS).where(_is_open())) or 0
            done = connection.scalar(select(func.count()).where(_is_open(), ITEMS.c.id.in_(ranked))) or 0
        return Queue(done, total)

    def item(self, id: int) -> Item | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(ITEMS).where(ITEMS.c.id == id)).mappings().first()
        return _item(row) if row else None

    def fill(self, item: Item) -> Item:
        """Give an item its replies, unless it was given some meanwhile; returns it as it is now."""
        row = _item_row(item)
        values = {name: row[name] for name in ("size", "replies", "models", "samplings")}
        with self._engine.begin() as connection:
            connection.execute(update(ITEMS).where(ITEMS.c.id == item.id, ITEMS.c.size == 0).values(**values))
        return self.item(item.id) or item

    def rank(self, vote: Vote) -> int:
        """Keep a ranking of an item; one that the same person gave before is replaced."""
        with self._engine.begin() as connection:
            connection.execute(delete(VOTES).where(VOTES.c.item == vote.item, VOTES.c.name == vote.name))
            return _insert(connection, vote)

    def rankings(self, keys: Sequence[str]) -> dict[str, list[tuple[Sequence[str], Sequence[int]]]]:
        """For each key of an item the replies and the ranks of every vote on it; () for one who could not say."""
        found: dict[str, list[tuple[Sequence[str], Sequence[int]]]] = {}
        join = select(ITEMS.c.key, VOTES.c.replies, VOTES.c.ranks).join(VOTES, VOTES.c.item == ITEMS.c.id)
        with self._engine.connect() as connection:
            for start in range(0, len(keys), _PAGE):
                part = join.where(ITEMS.c.key.in_(keys[start : start + _PAGE])).order_by(VOTES.c.id)
                for key, replies, ranks in connection.execute(part):
                    found.setdefault(key, []).append((replies, ranks))
        return found

    def begin_battle(self, battle: Battle) -> Battle:
        """Open a battle under a number that nobody can guess."""
        battle = replace(battle, id=secrets.token_urlsafe(16))
        now = time.time()
        row = {name: getattr(battle, name) for name in ("id", "messages", "models", "samplings")}
        with self._engine.begin() as connection:
            connection.execute(delete(BATTLES).where(BATTLES.c.created < now - _BATTLE_SECONDS))
            connection.execute(insert(BATTLES).values(created=now, **row))
        return battle

    def battle(self, id: str) -> Battle | None:
        """The battle of that number; None where there is none, or no more."""
        # not every database takes every text to compare with
        if not _NUMBER.fullmatch(id):
            return None
        with self._engine.connect() as connection:
            row = connection.execute(select(BATTLES).where(BATTLES.c.id == id)).mappings().first()
        if row is None:
            return None
        models, samplings = tuple(row["models"]), tuple(row["samplings"])
        return Battle(id, row["messages"], models, samplings, (row["reply_a"], row["reply_b"]))

    def reply(self, id: str, side: Side, text: str) -> None:
        """Keep what a side of a battle said; a battle that is over stays over."""
        with self._engine.begin() as connection:
            connection.execute(update(BATTLES).where(BATTLES.c.id == id).values({f"reply_{side}": text}))

    def end_battle(self, id: str, vote: Vote) -> bool:
        """Keep the vote and forget the battle; False where it is over already."""
        with self._engine.begin() as connection:
            if not connection.execute(delete(BATTLES).where(BATTLES.c.id == id)).rowcount:
                return False
            _insert(connection, vote)
        return True


def _insert(connection: Connection, vote: Vote) -> int:
    row = {**asdict(vote), "created": vote.created or time.time()}
    del row["id"]
    return int(connection.execute(insert(VOTES).values(row).returning(VOTES.c.id)).scalar_one())


def _is_open() -> ColumnElement[bool]:
    return ITEMS.c.size != 1


def _count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(ITEMS)) or 0


def _item_row(item: Item) -> dict[str, Any]:
    row = asdict(item)
    del row["id"]
    return {**row, "key": item.key, "size": len(item.replies)}


def _item(row: RowMapping) -> Item:
    return Item(**{name: value for name, value in row.items() if name not in ("key", "size")})
