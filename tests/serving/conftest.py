"""Tiny models on disk, and a server with an engine whose replies are known."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from chatwright import registry
from helpers.served import (
    SCRIPT,
    Places,
    Running,
    make_places,
    running,
)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return make_places(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session", autouse=True)
def _scripted_engine() -> Iterator[None]:
    registry.TABLES["engine"]["scripted"] = "helpers.served:ScriptedEngine"
    registry.table.cache_clear()
    yield
    del registry.TABLES["engine"]["scripted"]
    registry.table.cache_clear()


@pytest.fixture(autouse=True)
def _fresh_script() -> Iterator[None]:
    SCRIPT.reset()
    yield
    SCRIPT.reset()


@pytest.fixture(scope="session")
def server(places: Places, _scripted_engine: None) -> Iterator[Running]:
    with running(places.all) as started:
        yield started


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=30) as opened:
        yield opened
