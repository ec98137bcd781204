"""The benchmark of cleaning: what it spoils is spoilt, and both runs of a tiny comparison are equal."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.scripts import load_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
TINY = [
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "model.kv_heads=1",
    "context=64",
    "batch_tokens=256",
]


def made_up(language: str, count: int, draw: random.Random) -> list[str]:
    """Sentences of the words of a small language, each document another."""
    words = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "mill",
        "river",
        "wheel",
        "water",
        "bridge",
        "came",
        "went",
        "saw",
        "was",
    ]

    def sentence() -> str:
        if language == "en":
            return " ".join(draw.choices(words, k=12)).capitalize() + ". "
        return "".join(draw.choices(HAN, k=18)) + "。"

    return ["\n\n".join("".join(sentence() for _ in range(5)) for _ in range(3)) for _ in range(count)]


@pytest.fixture(scope="module")
def sets() -> dict[str, list[str]]:
    draw = random.Random(0)
    names = [f"en_{name}" for name in ("chapters", "wikipedia", "abstracts")]
    names += [f"zh_{name}" for name in ("histories", "wikipedia", "laws")]
    return {name: made_up(name[:2], 12, draw) for name in names}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return load_script(BENCHMARKS / "cleaning.py")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_spoilt_texts_hold_the_good_ones_and_more(benchmark: ModuleType, sets: dict[str, list[str]]) -> None:
    made = benchmark.spoilt(sets, 3)
    assert made == benchmark.spoilt(sets, 3) and made != benchmark.spoilt(sets, 4)
    good = [text for found in sets.values() for text in found]
    assert all(any(text in one for one in made) for text in good)
    assert len(made) > 1.5 * len(good) and len(set(made)) < len(made)


def test_both_runs_are_equal_but_for_their_text(
    benchmark: ModuleType, sets: dict[str, list[str]], tmp_path: Path
) -> None:
    chosen = benchmark.arguments(["--steps", "2", "--seeds", "0", "--vocab-size", "600", *TINY])
    held_out = {name: texts[:2] for name, texts in sets.items()}
    found: dict[str, Any] = benchmark.measure(sets, held_out, tmp_path, chosen)
    run = found["runs"][0]
    assert run["raw"]["steps"] == run["cleaned"]["steps"] == 2
    assert run["raw"]["tokens"] == run["cleaned"]["tokens"] > 0
    assert run["cleaned"]["documents"] < run["raw"]["documents"]
    assert all(0 < bits < 20 for side in ("raw", "cleaned") for bits in run[side]["bits_per_byte"].values())
    assert found["gain"]["all"]["mean"] == run["gain"]["all"]
