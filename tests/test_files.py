"""Writing that survives a crash: the old content or the new, never a part."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chatwright.errors import UserError
from chatwright.files import aside_of, atomic_write, publishing, writing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic_write(path, "first")
    atomic_write(path, b"\xe7\x8c\xab")
    assert path.read_text(encoding="utf-8") == "猫"
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    atomic_write(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*a\.txt: the disk is full; free some space"):
        atomic_write(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with publishing(target) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "file").write_text("x")
        assert not target.exists()
    assert (target / "inner" / "file").read_text() == "x"
    with publishing(target) as aside:
        (aside / "other").write_text("y")
    assert names(target) == ["other"]
    assert names(target.parent) == ["folder"]


def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with publishing(target) as aside:
        (aside / "old").write_text("x")
    with pytest.raises(ZeroDivisionError), publishing(target) as aside:
        (aside / "new").write_text("y")
        raise ZeroDivisionError
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    stale = tmp_path / "folder.tmp-4711"
    stale.mkdir()
    (stale / "half").write_text("x")
    other = tmp_path / "another.tmp-4711"
    other.mkdir()
    with publishing(tmp_path / "folder"):
        pass
    assert names(tmp_path) == ["another.tmp-4711", "folder"]


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")],
)
def test_the_systems_refusals_name_the_mend(number: int, said: str) -> None:
    with pytest.raises(UserError, match=f"cannot write /there: .*{said}"), writing("/here"):
        raise OSError(number, "no", "/there")
    with pytest.raises(UserError, match="cannot write /here: "), writing("/here"):
        raise OSError(number, "no")


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), writing("/here"):
        raise FileNotFoundError(errno.ENOENT, "no", "/there")


def test_the_name_aside_belongs_to_this_process(tmp_path: Path) -> None:
    assert aside_of(tmp_path / "a.json").name == f"a.json.tmp-{os.getpid()}"
