"""The benchmark of the corpus on made-up sets: what is planted is found, what is told adds up."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.scripts import load_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"


def made_up(language: str, draw: random.Random) -> str:
    """A document of eight paragraphs that no other shares."""

    def paragraph() -> str:
        if language == "zh":
            return "".join(draw.choice(HAN) for _ in range(110)) + "。"
        small = ["the", "of", "and", "to", "in"]
        words = (
            draw.choice(small)
            if n % 3 == 0
            else draw.choice("bcdfgst")
            + draw.choice("aeiou") * 2
            + draw.choice("lmnrst")
            + draw.choice("aeiou")
            for n in range(60)
        )
        return " ".join(words).capitalize() + "."

    return "\n\n".join(paragraph() for _ in range(8))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        benchmark: ModuleType = load_script(BENCHMARKS / "corpus.py")
    finally:
        sys.path.remove(str(BENCHMARKS))
    folder, draw = tmp_path_factory.mktemp("sets"), random.Random(0)
    for name in benchmark.SETS:
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"text": made_up(name[:2], draw)}) + "\n" for _ in range(320))
    words = ["--megabytes", "4", "--documents", "80", "--lines", "0", "--engine", "inline"]
    chosen = benchmark.arguments([*words, "steps=clean,language,exact,near,paragraphs"])
    found: dict[str, Any] = benchmark.measure(folder, tmp_path_factory.mktemp("place"), chosen)
    return found


def test_all_that_was_planted_is_found_in_each_script(measured: dict[str, Any]) -> None:
    assert measured["duplicates"]["recall_at_0.8"] == {"en": 1.0, "zh-Hans": 1.0, "zh-Hant": 1.0}
    near, cut = (
        measured["duplicates"][name] for name in ("near_precision", "paragraph_precision_of_planted")
    )
    assert near["right"] == near["dropped"] > 20 and cut["right"] == cut["cut"] > 20
    assert measured["duplicates"]["dropped_before"] == {"en": 0, "zh-Hans": 0, "zh-Hant": 0}


def test_speed_and_memory_are_told(measured: dict[str, Any]) -> None:
    speed = measured["speed"]
    assert speed["core_seconds"] > sum(speed["seconds_by_step"].values()) > 0
    assert speed["mb_per_core_second"] < speed["mb_per_core_second_steps_only"]
    assert 20 < speed["peak_mb"] < 4000


def test_real_documents_stay_and_copies_go_for_a_reason(measured: dict[str, Any]) -> None:
    kept = measured["kept"]
    assert all(kept[name]["kept_documents"] == 1 for name in kept if not name.startswith("planted"))
    for found in (found for name, found in kept.items() if name.startswith("planted")):
        assert found["kept_documents"] + sum(found["dropped_for"].values()) == pytest.approx(1, abs=1e-3)
    for name, bands in measured["languages"]["documents"].items():
        assert "zh" not in name or {band: right == there for band, (right, there) in bands.items()} == {
            "Han >=0.3": True
        }
