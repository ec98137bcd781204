"""The tables of the vote store, and where its database lies.

Texts go in and out as parameters, and lists of texts as JSON with every character beyond ASCII escaped: no text is ever
part of a statement, and none is refused by a database for its characters.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from chatwright.errors import UserError
from chatwright.files import writing
from chatwright.runs import Run

FILE = "votes.sqlite"
_FILES = (".sqlite", ".sqlite3", ".db")
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_PATIENCE_SECONDS, _LOOK_SECONDS = 10, 0.02
# Any number that every process takes.
_LOCK = "SELECT pg_advisory_xact_lock(6837217509)"
# A value that is not there is NULL, and never JSON's null.
_Texts = JSON(none_as_null=True)

TABLES = MetaData()
ITEMS = Table(
    "items",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("messages", _Texts, nullable=False),
    # 0: replies are still to be sampled; 1: there is nothing to compare
    Column("size", Integer, nullable=False),
    Column("replies", _Texts, nullable=False),
    Column("models", _Texts, nullable=False),
    Column("samplings", _Texts, nullable=False),
    Column("source", _Texts, nullable=False),
)
BATTLES = Table(
    "battles",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("created", Float, nullable=False, index=True),
    Column("messages", _Texts, nullable=False),
    Column("models", _Texts, nullable=False),
    Column("samplings", _Texts, nullable=False),
    Column("reply_a", _Texts),
    Column("reply_b", _Texts),
)
VOTES = Table(
    "votes",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("created", Float, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", String(200), nullable=False, index=True),
    Column("item", Integer, ForeignKey("items.id"), index=True),
    Column("messages", _Texts, nullable=False),
    Column("replies", _Texts, nullable=False),
    Column("models", _Texts, nullable=False),
    Column("samplings", _Texts, nullable=False),
    Column("ranks", _Texts, nullable=False),
    Column("value", Integer, nullable=False),
    Column("reason", _Texts, nullable=False),
    Column("better", _Texts, nullable=False),
)


def database_url(place: str | Path | Run) -> URL:
    """The database that a user names: the folder of a run, a file of SQLite, or an address as SQLAlchemy writes them."""
    text = str(place)
    if "://" in text:
        try:
            url = make_url(text)
        except ArgumentError:
            raise UserError(
                "the address of the database cannot be read; write postgresql://user@host/name"
            ) from None
        kind = url.drivername.partition("+")[0]
        if kind not in _DRIVERS:
            raise UserError(
                f"votes are kept in SQLite or PostgreSQL, not in {kind!r}; write a file's name or postgresql://…"
            )
        return url if "+" in url.drivername else url.set(drivername=_DRIVERS[kind])
    path = Path(text)
    if path.is_dir():
        return _file(path / FILE)
    if path.suffix not in _FILES:
        raise UserError(
            f"there is no folder {path}; give a run's folder, a file named *.sqlite, or postgresql://user@host/name"
        )
    return _file(path)


def open_database(place: str | Path | Run, create: bool) -> Engine:
    """The database at `place` with its tables; without `create` one that is not there is refused."""
    url = database_url(place)
    is_file = url.get_backend_name() == "sqlite"
    path = Path(url.database or "")
    if is_file and not create and not path.is_file():
        raise UserError(
            f"there are no votes at {path}; `chatwright serve` keeps them there once somebody has voted"
        )
    if is_file:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    shown = str(path) if is_file else url.render_as_string(hide_password=True)
    try:
        engine = create_engine(url, pool_pre_ping=not is_file)
        if is_file:
            event.listen(engine, "connect", _prepare)
        _settle(engine, shown, create, is_file)
    except ModuleNotFoundError:
        raise UserError(
            f"{shown} needs PostgreSQL's driver; install it with `pip install 'chatwright[postgresql]'`"
        ) from None
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise UserError(f"the database {shown} cannot be used: {said}") from None
    return engine


def _file(path: Path) -> URL:
    return URL.create(_DRIVERS["sqlite"], database=str(path))


def _settle(engine: Engine, shown: str, create: bool, is_file: bool) -> None:
    if not create:
        if not inspect(engine).has_table(VOTES.name):
            raise UserError(f"{shown} holds no votes; give the database that `chatwright serve` writes to")
        return
    if is_file:
        _let_readers_in(engine)
    with engine.begin() as connection:
        # of several processes that come first at once one makes the tables, and the others find them
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_file else _LOCK)
        TABLES.create_all(connection)


def _let_readers_in(engine: Engine) -> None:
    """One process may read while another writes (SQLite's write-ahead log)."""
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            # for this change SQLite does not wait, whatever its timeout
            if time.monotonic() > ends:
                raise
            time.sleep(_LOOK_SECONDS)


def _prepare(connection: Any, _: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={1000 * _PATIENCE_SECONDS}")
    connection.execute("PRAGMA foreign_keys=ON")
