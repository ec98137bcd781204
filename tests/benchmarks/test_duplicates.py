"""Planted duplicates on made-up text: all that is at least .8 alike is found, in each script, and nothing else goes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from helpers.scripts import load_script

BENCHMARK = load_script(Path(__file__).parents[2] / "benchmarks" / "duplicates.py")
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"


def made_up(script: str, count: int, draw: random.Random) -> list[str]:
    """Documents of eight paragraphs of random words or characters."""

    def paragraph() -> str:
        if script == "en":
            return " ".join(
                draw.choice("aeiou") + draw.choice("bcdfgst") * draw.randrange(1, 3) + str(draw.randrange(30))
                for _ in range(60)
            )
        return "".join(draw.choice(HAN) for _ in range(110)) + "。"

    texts = ["\n\n".join(paragraph() for _ in range(8)) for _ in range(count)]
    return [BENCHMARK.other_script(text, "zh-Hans") for text in texts] if script == "zh-Hant" else texts


@pytest.fixture(scope="module")
def measured() -> dict[str, object]:
    draw = random.Random(0)
    planted = BENCHMARK.Planted()
    for script in ("en", "zh-Hans", "zh-Hant"):
        found = BENCHMARK.plant(made_up(script, 70, draw), script, draw, share=0.24)
        planted.docs += found.docs
        planted.copies += found.copies
    result: dict[str, object] = BENCHMARK.measure(planted)
    return result


@pytest.mark.parametrize("script", ["en", "zh-Hans", "zh-Hant"])
def test_all_that_is_alike_is_found(
    measured: dict[str, dict[str, dict[str, list[int]]]], script: str
) -> None:
    recall = measured["recall"][script]
    near = [recall[name] for name in recall if name.endswith(">=0.8")]
    assert sum(there for _, there in near) >= 8
    for found, there in [*near, recall["exact"], recall["paragraph"]]:
        assert found == there


def test_nothing_else_goes(measured: dict[str, dict[str, int]]) -> None:
    near, paragraphs = measured["near_precision"], measured["paragraph_precision"]
    assert near["right"] == near["dropped"] > 20
    assert paragraphs["right"] == paragraphs["cut"] > 20
