"""Stores in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from chatwright.serving.votes.database import TABLES, database_url
from chatwright.serving.votes.store import VoteStore
from helpers.postgres import cluster, why_absent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    reason = why_absent()
    if reason is not None:
        pytest.skip(reason)
    with cluster() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The place of an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "votes.sqlite")
        return
    address = request.getfixturevalue("postgresql")
    yield address
    engine = create_engine(database_url(address))
    TABLES.drop_all(engine)
    engine.dispose()


@pytest.fixture
def store(database: str) -> Iterator[VoteStore]:
    opened = VoteStore.open(database)
    yield opened
    opened.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[VoteStore]:
    """A store in SQLite alone, for what does not depend on the database."""
    opened = VoteStore.open(tmp_path)
    yield opened
    opened.close()
