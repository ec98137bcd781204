"""A corpus, made once."""

from __future__ import annotations

import pytest

from chatwright.runs import Run
from helpers.documented import make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_corpus(tmp_path_factory.mktemp("documents"))
