"""From what the user named to a list of what is to be read: folders, files, globs, data sets, named sources."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatwright.corpora.documents import path_text
from chatwright.corpora.reading.raw import (
    HTML_TYPES,
    PARQUET,
    PDF,
    ROW_TYPES,
    TABLE_TYPES,
    TEXT_TYPES,
    WARC,
    FileError,
    is_known,
    unreadable,
)
from chatwright.corpora.reading.skipped import note_file
from chatwright.errors import UserError, did_you_mean
from chatwright.registry import lookup, table

_NAMED_SOURCE = re.compile(r"([a-z][a-z0-9_-]+):([^/\\].*)")


@dataclass(frozen=True)
class Source:
    """Something to read: a file, or where `path` is None, `python:stdlib` and the like.

    `input` is what the user wrote; `named` tells a file that the user named from one found in a folder. `size` is in
    bytes, 0 where it is not known. The ids of documents begin with `name`, or with the path where that is empty.
    """

    input: str
    path: Path | None
    named: bool
    size: int = 0
    name: str = ""


def discover(
    inputs: Sequence[str | Path], skipped: Counter[str], mirror: str | Path | None = None
) -> list[Source]:
    """Everything that the inputs name, in their order, folders sorted by name; files of no use are counted.

    An input is a folder (searched whole, without hidden files and runs of ours), a file, a glob, or
    `source:name` with a name of the registry's `corpus_source`: `python:numpy`, `hf:owner/name`. Data sets are
    looked for in the folder `mirror` first. Raises UserError for an input that does not exist or cannot be read.
    """
    if not inputs:
        raise UserError("no input given; name a folder, a file or a source such as python:stdlib")
    place = Path(mirror).expanduser() if mirror is not None else None
    if place is not None and not place.is_dir():
        raise UserError(f"mirror={mirror}: there is no such folder; give the one that holds the data sets")
    return [source for name in inputs for source in _discover(str(name), skipped, place)]


def _discover(name: str, skipped: Counter[str], mirror: Path | None) -> Iterator[Source]:
    path = Path(name).expanduser()
    label = path_text(name)
    match = _NAMED_SOURCE.fullmatch(name)
    if _is_folder(path):
        yield from (_found(label, file) for file in _walk(path, skipped))
    elif os.path.exists(path):  # noqa: PTH110 (see _is_folder)
        if not is_known(path):
            raise _unknown_type(path)
        yield Source(label, path, True, _size(path))
    elif match:
        yield from _named(label, match[1], match[2], mirror)
    elif glob.has_magic(name):
        # Path.glob takes no absolute patterns.
        matches = [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not matches:
            raise UserError(f"{name}: no file matches; check the path")
        for found in matches:
            within = _walk(found, skipped) if _is_folder(found) else _usable([found], skipped)
            yield from (_found(label, file) for file in within)
    else:
        raise FileError(path, "no such file or folder", "check the path")


def _found(label: str, file: Path, name: str = "") -> Source:
    return Source(label, file, False, _size(file), name)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_folder(path: Path) -> bool:
    # Path.is_dir raises for names that are too long and for places without permission.
    return os.path.isdir(path)  # noqa: PTH112


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _named(label: str, kind: str, name: str, mirror: Path | None) -> Iterator[Source]:
    if kind not in table("corpus_source"):
        known = did_you_mean(kind, table("corpus_source"))
        raise UserError(f"{label}: no such file, and no corpus source is called {kind!r}{known}")
    source = lookup("corpus_source", kind)
    if not hasattr(source, "files"):
        yield Source(label, None, True)
        return
    yield from (_found(label, file, path_text(title)) for title, file in source.files(name, mirror))


def _unknown_type(path: Path) -> FileError:
    kinds = ", ".join((*TEXT_TYPES, *ROW_TYPES, *TABLE_TYPES, *HTML_TYPES, WARC))
    mend = f"give {kinds} (also .gz, .zst), {PARQUET} or {PDF}, or convert it to text"
    return FileError(path, f"files of the type {path.suffix or 'none'!r} are not read", mend)


def _walk(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """The files in a folder and all under it, by name; a folder that several links lead to is read once."""
    seen: set[tuple[int, int]] = set()
    open_: list[Iterator[Path]] = [iter([folder])]
    while open_:
        entry = next(open_[-1], None)
        if entry is None:
            open_.pop()
        elif entry is not folder and entry.name.startswith("."):
            note_file(skipped, "hidden", str(entry))
        elif not _is_folder(entry):
            yield from _usable([entry], skipped)
        elif entry is not folder and _is_file(entry / "run.json"):
            note_file(skipped, "run of chatwright", str(entry))
        else:
            try:
                open_.append(iter(_entries(entry, seen, skipped)))
            except OSError as error:
                if entry is folder:
                    raise unreadable(folder, error) from None
                note_file(skipped, "unreadable folder", str(entry), error.strerror or "")


def _entries(folder: Path, seen: set[tuple[int, int]], skipped: Counter[str]) -> list[Path]:
    facts = folder.stat()
    if (facts.st_dev, facts.st_ino) in seen:
        note_file(skipped, "folder linked to twice", str(folder))
        return []
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    seen.add((facts.st_dev, facts.st_ino))
    return entries


def _usable(files: Iterable[Path], skipped: Counter[str]) -> Iterator[Path]:
    for file in files:
        if not _is_file(file):
            note_file(skipped, "broken link or special file", str(file))
        elif not is_known(file):
            note_file(skipped, f"file type {file.suffix.lower() or 'none'}", str(file))
        else:
            yield file
