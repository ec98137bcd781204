"""Agreement between people, on published and on evident numbers."""

from __future__ import annotations

import pytest

from chatwright.serving.votes.agreement import agreement


def test_krippendorff_s_own_example() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, nominal data of 4 observers: 0.743."""
    observers = {
        "A": "1 2 3 3 2 1 4 1 2 . . .",
        "B": "1 2 3 3 2 2 4 1 2 5 . 3",
        "C": ". 3 3 3 2 3 4 2 2 5 1 .",
        "D": "1 2 3 3 2 4 4 1 2 5 1 .",
    }
    table: dict[int, dict[str, str]] = {}
    for name, said in observers.items():
        for thing, verdict in enumerate(said.split()):
            if verdict != ".":
                table.setdefault(thing, {})[name] = verdict
    found = agreement(table)
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.things == 11 and found.people == 4


def test_plain_cases() -> None:
    same = agreement({1: {"A": "x", "B": "x"}, 2: {"A": "y", "B": "y"}})
    assert same.alpha == 1 and same.same.value == 1 and same.same.total == 2
    apart = agreement({1: {"A": "x", "B": "y"}, 2: {"A": "y", "B": "x"}})
    assert apart.alpha is not None and apart.alpha < 0 and apart.same.value == 0
    assert agreement({1: {"A": "x", "B": "x"}}).alpha is None, "nobody ever said anything else"
    alone = agreement({1: {"A": "x"}, 2: {"B": "y"}})
    assert alone.things == alone.people == alone.same.total == 0 and alone.alpha is None
