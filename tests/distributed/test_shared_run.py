"""One run directory for several processes."""

from __future__ import annotations

from pathlib import Path

from chatwright.runs import OpenRun
from helpers.ranks import on_ranks


def test_a_refusal_reaches_every_rank(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    told = on_ranks("helpers.work:refused_run", 2, str(tmp_path))
    assert told[0] == told[1]
    assert "holds other files and no run.json" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_only_the_first_writes(tmp_path: Path) -> None:
    place = tmp_path / "run"
    found = on_ranks("helpers.work:followed_run", 2, str(place))
    assert all("from 0" in names for names in found)
    assert OpenRun(place).metrics() == [{"step": 1, "rank": 0}]
