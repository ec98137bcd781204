"""The problems of the arithmetic benchmark are what they say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from helpers.scripts import load_script

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "arithmetic.py"


@pytest.fixture(scope="module")
def arithmetic() -> ModuleType:
    return load_script(BENCHMARK)


def test_the_problems_are_what_they_say(arithmetic: ModuleType) -> None:
    rows = arithmetic.problems(19)
    assert len(rows) == 400 == len({row["prompt"] for row in rows})
    for row in rows:
        assert eval(row["prompt"].removesuffix("=?")) == row["answer"]
        *steps, last = row["working"].splitlines()
        assert last == str(row["answer"])
        for step in steps:
            digits, total = step.split("=")
            assert eval(digits) == int(total)


def test_a_sum_is_worked_out_from_the_right(arithmetic: ModuleType) -> None:
    assert arithmetic.worked(47, 85) == "7+5=12\n4+8+1=13\n132"
    assert arithmetic.worked(5, 30) == "5+0=5\n0+3=3\n35"
