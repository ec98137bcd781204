"""Writing that survives a crash: aside, synced, then renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chatwright.errors import UserError

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file would be larger than the limit set for this process (ulimit -f); raise the limit",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place or change its permissions",
    errno.EPERM: "permission denied; choose another place or change its permissions",
    errno.EEXIST: "something else of that name is in the way; choose another place",
    errno.EISDIR: "it is a folder; choose another place",
    errno.EIO: "the disk does not answer; choose another place",
    errno.ENOLCK: "this file system has no locks; choose a local disk",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
}


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Turn the system's refusals to write (full disk, no permission …) into one line with the mend."""
    try:
        yield
    except OSError as error:
        if error.errno not in _MENDS:
            raise
        raise UserError(f"cannot write {error.filename or place}: {_MENDS[error.errno]}") from error


def sync_directory(directory: Path) -> None:
    """Make a rename inside `directory` durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace a file whole: a reader sees the old content or the new, never a part."""
    # a file name that is not UTF-8 becomes a JSON escape
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    aside = aside_of(path)
    with writing(path):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def aside_of(path: Path) -> Path:
    """The name under which this process writes `path` before it is whole."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}")


@contextmanager
def publishing(directory: Path) -> Iterator[Path]:
    """Give a new folder to fill; when the block ends well it becomes `directory`, otherwise it is removed.

    Every file in it is synced before the rename, so a published folder is whole or absent. Leftovers of killed
    processes beside it are removed first.
    """
    with writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        for stale in directory.parent.glob(f"{directory.name}.tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)
        aside = aside_of(directory)
        aside.mkdir()
        try:
            yield aside
            for path in sorted(aside.rglob("*")):
                if path.is_file():
                    sync_file(path)
                else:
                    sync_directory(path)
            sync_directory(aside)
            if directory.exists():
                shutil.rmtree(directory)
            aside.rename(directory)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync_directory(directory.parent)


@contextmanager
def written_aside(out: str | None) -> Iterator[IO[str] | None]:
    """A file that takes the place of `out` when it is whole; None where there is none."""
    if out is None:
        yield None
        return
    target = Path(out)
    aside = aside_of(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("w", encoding="utf-8", errors="backslashreplace") as file:
                yield file
            sync_file(aside)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)


def cpp_compiler() -> str | None:
    """The name of a C++ compiler that is installed here."""
    return next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
