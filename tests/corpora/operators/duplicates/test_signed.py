from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.contract import Signs
from chatwright.corpora.operators.duplicates import signed as module
from chatwright.corpora.operators.duplicates.signed import Signed

BANDS = 5


def made(rows: int, seed: int) -> Signs:
    draw = np.random.default_rng(seed)
    return {
        "bands": draw.integers(0, 9, (rows, BANDS), np.uint32),
        "sketches": draw.integers(0, 256, (rows, 3), np.uint8),
        "sizes": draw.integers(0, 3, rows, np.uint32),
    }


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 6), max_size=5), st.integers(1, 200))
def test_parts_read_as_one_table(rows: list[int], key_bytes: int) -> None:
    signs = [made(count, seed) for seed, count in enumerate(rows)]
    alive = [np.random.default_rng(seed).random(count) < 0.7 for seed, count in enumerate(rows)]
    empty: Signs = {name: array[:0] for name, array in made(1, 0).items()}
    whole = {
        name: np.concatenate(
            [empty[name], *(one[name][mask] for one, mask in zip(signs, alive, strict=True))]
        )
        for name in empty
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_KEY_BYTES", key_bytes)
        signed = Signed(signs, alive)
        keys = [(places.tolist(), band.tolist()) for places, band in signed.keys(BANDS)]
    has_words = np.flatnonzero(whole["sizes"])
    assert signed.total == len(whole["sizes"]) and sum(signed.counts) == signed.total
    assert keys == [(has_words.tolist(), whole["bands"][has_words, band].tolist()) for band in range(BANDS)]
    places = np.flatnonzero(np.random.default_rng(key_bytes).random(signed.total) < 0.5)
    assert signed.sketches(places).tolist() == whole["sketches"][places].tolist()


class Counted(list[Signs]):
    """Signatures that remember which parts were asked for."""

    def __init__(self, parts: list[Signs]) -> None:
        super().__init__(parts)
        self.asked: list[int] = []

    def __getitem__(self, number: Any) -> Any:
        self.asked.append(number)
        return super().__getitem__(number)


def test_only_parts_that_hold_what_is_asked_for_are_read() -> None:
    signs = Counted([made(2, seed) for seed in range(4)])
    Signed(signs, [np.ones(2, bool)] * 4).sketches(np.array([2, 7]))
    assert signs.asked == [1, 3]
