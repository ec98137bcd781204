import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatwright import registry
from chatwright.corpora.reading.discover import Source, discover
from chatwright.corpora.reading.skipped import Skipped
from chatwright.errors import UserError


def test_sources_know_their_size_and_who_named_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("four")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("three")
    (tmp_path / "b" / "d.pdf").write_text("%PDF")
    found = discover([tmp_path / "a.txt", tmp_path / "b", "python:json"], Skipped())
    assert found == [
        Source(str(tmp_path / "a.txt"), tmp_path / "a.txt", True, 4),
        Source(str(tmp_path / "b"), tmp_path / "b" / "c.txt", False, 5),
        Source(str(tmp_path / "b"), tmp_path / "b" / "d.pdf", False, 4),
        Source("python:json", None, True),
    ]


def test_every_file_left_out_is_listed(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.doc", ".hidden"):
        (tmp_path / name).touch()
    skipped = Skipped()
    assert discover([tmp_path], skipped) == []
    listed = {reason: [Path(path).name for path, _ in files] for reason, files in skipped.files.items()}
    assert listed == {
        "hidden": [".hidden"],
        "file type .png": ["a.png", "b.png"],
        "file type .doc": ["c.doc"],
    }


@pytest.fixture
def deep() -> Iterator[Path]:
    """A folder outside of pytest's, whose way of removing folders is recursion."""
    folder = tempfile.mkdtemp()
    yield Path(folder)
    subprocess.run(["rm", "-rf", folder], check=True)


def nest(folder: Path, name: str, depth: int) -> int:
    """Folders in folders; a handle to the innermost."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    return handle


@pytest.mark.slow
def test_folders_deeper_than_any_stack(deep: Path) -> None:
    handle = nest(deep, "d", 1100)
    os.close(os.open("deep.txt", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    (deep / "z.txt").write_text("after")
    (found, after) = discover([deep], Skipped())
    assert found.path is not None
    assert found.path.name == "deep.txt"
    assert after.path == deep / "z.txt"


def test_paths_longer_than_the_system_takes_are_listed(deep: Path) -> None:
    os.close(nest(deep, "d" * 200, 30))
    (deep / "z.txt").write_text("after")
    skipped = Skipped()
    (found,) = discover([deep], skipped)
    assert found.path == deep / "z.txt"
    assert sum(skipped.values()) == 1


def test_loops_of_links_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
    (tmp_path / "a" / "to-b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to-a").symlink_to(tmp_path / "a")
    (tmp_path / "x").symlink_to(tmp_path / "y")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    skipped = Skipped()
    found = discover([tmp_path], skipped)
    assert [source.path.name for source in found if source.path] == ["a.txt", "b.txt"]
    assert skipped == {"folder linked to twice": 2, "broken link or special file": 2}


def test_folders_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "z.txt").write_text("after")
    iterdir = Path.iterdir

    def refuse(self: Path) -> object:
        if self.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    skipped = Skipped()
    assert len(discover([tmp_path], skipped)) == 1
    assert skipped.files == {"unreadable folder": [(str(tmp_path / "closed"), "Permission denied")]}
    with pytest.raises(UserError, match="closed: no permission to read it"):
        discover([tmp_path / "closed"], Skipped())


def test_names_too_long_to_exist() -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        discover(["x" * 5000], Skipped())


class _Files:
    """A named source that is made of files."""

    def files(self, name: str, mirror: Path | None) -> list[tuple[str, Path]]:
        return [(f"mine:{name}/a", Path("a.txt")), (f"mine:{name}/{mirror}", Path("b.txt"))]


def test_sources_of_plug_ins_may_be_made_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TABLES["corpus_source"], "mine", f"{__name__}:SOURCE")
    monkeypatch.setattr("chatwright.corpora.reading.discover.lookup", lambda kind, name: _Files())
    registry.table.cache_clear()
    found = discover(["mine:x"], Skipped(), mirror=tmp_path)
    registry.table.cache_clear()
    assert [(source.input, source.name, source.named) for source in found] == [
        ("mine:x", "mine:x/a", False),
        ("mine:x", f"mine:x/{tmp_path}", False),
    ]


def test_a_mirror_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mirror=.*none: there is no such folder"):
        discover(["python:json"], Skipped(), mirror=tmp_path / "none")
