"""What all tests share: a search path for `helpers`, one thread a process, and torch's switches put back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Several test processes share a machine, and one thread makes every sum come in the same order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """A training session turns deterministic algorithms on for its process; the next test starts without."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A tiny corpus, tokenizer, base and chat model, made once by the verbs themselves."""
    from helpers.journey import make_journey

    yield make_journey(tmp_path_factory.mktemp("journey"))
