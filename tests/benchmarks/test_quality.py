"""The benchmark of quality: its bad texts are bad in the same way each time, and its shares add up."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SOURCES = {
    **{
        f"en_{name}": [
            "The mill stood by the river, and the wheel turned all day. Nobody knew who had built it, or when.\n\n"
            "In the spring of that year the water rose higher than it ever had, and the bridge was carried away."
        ]
        for name in ("chapters", "wikipedia", "abstracts")
    },
    **{
        f"zh_{name}": [
            "磨坊就在河边，水车整天转个不停。没有人知道它是谁造的，也不知道是什么时候造的。\n\n"
            "那一年的春天，河水涨得比从前任何时候都高，桥也被冲走了，人们只好坐船过河。"
        ]
        for name in ("histories", "wikipedia", "laws")
    },
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    load("quality_texts")
    return load("quality")


def test_good_stays_and_most_of_the_bad_goes(benchmark: ModuleType) -> None:
    made = sys.modules["quality_texts"].bad(SOURCES, 8, seed=5)
    assert made == sys.modules["quality_texts"].bad(SOURCES, 8, seed=5)
    good, bad = benchmark.summary(SOURCES), benchmark.summary(made)
    assert all(found["kept"] == 1 for found in good.values())
    sure = [found["kept"] for name, found in bad.items() if not name.endswith(("fragments", "shuffled"))]
    assert sum(sure) / len(sure) < 0.05
    for found in bad.values():
        assert found["kept"] + sum(found["dropped_by"].values()) == pytest.approx(1, abs=1e-3)
        assert all(found["each_rule_alone"][rule] >= share for rule, share in found["dropped_by"].items())
    rules = benchmark.by_rule(good, bad)
    assert rules["boilerplate"] == {"en_good": 0, "en_bad": pytest.approx(1 / 9, abs=0.01)} | {
        "zh_good": 0,
        "zh_bad": pytest.approx(1 / 9, abs=0.01),
    }
    assert "| boilerplate | ≤ 0.3 | ≤ 0.3 | 0.0% |" in benchmark.markdown(
        {"good": good, "bad": bad, "by_rule": rules}
    )
