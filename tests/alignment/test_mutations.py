"""The tests tested: every planted mistake is noticed by a quick test that names it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from helpers.faults import FAULTS, ROOT, Fault, begin, copied

_WORKERS = 2


def test_faults_are_many_and_each_is_another() -> None:
    assert len(FAULTS) >= 25
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_still_has_its_place_and_its_tests(fault: Fault) -> None:
    source = (ROOT / "src" / "chatwright" / fault.file).read_text(encoding="utf-8")
    changed = fault.applied(source)
    assert changed != source
    ast.parse(changed)
    for test in fault.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), (
            f"fault {fault.name!r}: no test {test}"
        )


@pytest.mark.slow
def test_every_fault_is_caught(tmp_path: Path) -> None:
    """And without any the same tests pass. An error while tests are collected does not count as noticing."""
    places = [tmp_path / f"codes-{worker}.json" for worker in range(_WORKERS)]
    workers = [
        begin(copied(tmp_path / f"src-{worker}"), FAULTS[worker::_WORKERS], place)
        for worker, place in enumerate(places)
    ]
    for worker in workers:
        assert worker.wait() == 0
    codes: dict[str, int] = {}
    for place in places:
        found = json.loads(place.read_text(encoding="utf-8"))
        assert found.pop("") == 0, "the tests should pass on the code as it is"
        codes |= found
    assert codes.keys() == {fault.name for fault in FAULTS}
    assert [name for name, code in codes.items() if code != 1] == [], "nobody noticed"
