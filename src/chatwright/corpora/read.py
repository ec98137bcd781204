"""From what the user named to documents: folders, files, globs, and sources such as `python:stdlib`."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chatwright.corpora.documents import Doc, Tally, encodable
from chatwright.corpora.encodings import decode_stream, encoding_of
from chatwright.corpora.raw import (
    PARQUET,
    ROW_TYPES,
    TEXT_TYPES,
    FileError,
    OnBytes,
    chunks,
    ignore,
    is_known,
    kind,
    unreadable,
)
from chatwright.corpora.rows import parquet_columns, rows
from chatwright.errors import UserError, did_you_mean
from chatwright.registry import lookup, table

__all__ = ["TEXT_FIELDS", "FileError", "Source", "discover", "read", "rows"]

TEXT_FIELDS = ("text", "content", "document", "body")
"""Where the text of a row is looked for, unless the option `text_field` says."""

_WHOLE = 16 << 20
_PIECE = 1 << 20
_ROWS_TO_TRY = 1000
_NAMED_SOURCE = re.compile(r"([a-z][a-z0-9_-]+):([^/\\].*)")


@dataclass(frozen=True)
class Source:
    """Something to read: a file, or where `path` is None, `python:stdlib` and the like.

    `input` is what the user wrote; `named` tells a file that the user named from one found in a folder.
    """

    input: str
    path: Path | None
    named: bool


def discover(inputs: Sequence[str | Path], skipped: Tally) -> list[Source]:
    """Everything that the inputs name, in their order, folders sorted by name; files of no use are counted.

    An input is a folder (searched whole, without hidden files and runs of ours), a file, a glob, or
    `source:name` with a name of the registry's `corpus_source`. Raises UserError for an input that does not
    exist or cannot be read.
    """
    if not inputs:
        raise UserError("no input given; name a folder, a file or a source such as python:stdlib")
    return [source for name in inputs for source in _discover(str(name), skipped)]


def _discover(name: str, skipped: Tally) -> Iterator[Source]:
    path = Path(name).expanduser()
    label = encodable(name)
    match = _NAMED_SOURCE.fullmatch(name)
    if path.is_dir():
        yield from (Source(label, found, False) for found in _walk(path, skipped, set()))
    elif path.exists():
        if not is_known(path):
            raise _unknown_type(path)
        yield Source(label, path, True)
    elif match:
        if match[1] not in table("corpus_source"):
            known = did_you_mean(match[1], table("corpus_source"))
            raise UserError(f"{name}: no such file, and no corpus source is called {match[1]!r}{known}")
        yield Source(label, None, True)
    elif glob.has_magic(name):
        # Path.glob takes no absolute patterns.
        matches = [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not matches:
            raise UserError(f"{name}: no file matches; check the path")
        for found in matches:
            within = _walk(found, skipped, set()) if found.is_dir() else _usable([found], skipped)
            yield from (Source(label, file, False) for file in within)
    else:
        raise FileError(path, "no such file or folder", "check the path")


def _unknown_type(path: Path) -> FileError:
    kinds = ", ".join(TEXT_TYPES + ROW_TYPES)
    mend = f"give {kinds} (also .gz, .zst) or {PARQUET}, or convert it to text"
    return FileError(path, f"files of the type {path.suffix or 'none'!r} are not read", mend)


def _walk(folder: Path, skipped: Tally, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:
        skipped.add("folder linked to twice", str(folder))
        return
    seen.add(real)
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        if len(seen) == 1:
            raise unreadable(folder, error) from None
        skipped.add("unreadable folder", str(folder))
        return
    for entry in entries:
        if entry.name.startswith("."):
            skipped.add("hidden", str(entry))
        elif not entry.is_dir():
            yield from _usable([entry], skipped)
        elif (entry / "run.json").is_file():
            skipped.add("run of chatwright", str(entry))
        else:
            yield from _walk(entry, skipped, seen)


def _usable(files: Iterable[Path], skipped: Tally) -> Iterator[Path]:
    for file in files:
        if not file.is_file():
            skipped.add("broken link or special file", str(file))
        elif not is_known(file):
            skipped.add(f"file type {file.suffix.lower() or 'none'}", str(file))
        else:
            yield file


def read(
    sources: Iterable[Source], skipped: Tally, text_field: str | None = None, on_bytes: OnBytes = ignore
) -> Iterator[Doc]:
    """Stream the documents of the sources, in order, in bounded memory.

    A text file is one document; one of more than 16 MB is several, each of about 1 MB and ending at a blank
    line where there is one. A row of JSON Lines, JSON or Parquet is one document: `text_field`, or the first
    of `TEXT_FIELDS` that the row has. What cannot be read is a UserError where the user named the file, and
    counted in `skipped` where it was met in a folder.
    """
    for source in sources:
        try:
            if source.path is None:
                yield from _named(source)
            elif kind(source.path)[0] in TEXT_TYPES:
                yield from _text_documents(source, source.path, skipped, on_bytes)
            else:
                yield from _row_documents(source, source.path, skipped, text_field, on_bytes)
        except FileError as error:
            if source.named:
                raise
            skipped.add(error.reason, str(error.path))


def _named(source: Source) -> Iterator[Doc]:
    kind_, _, name = source.input.partition(":")
    for id_, text in lookup("corpus_source", kind_)(name):
        yield Doc(encodable(id_), source.input, encodable(text))


def _row_documents(
    source: Source, path: Path, skipped: Tally, text_field: str | None, on_bytes: OnBytes
) -> Iterator[Doc]:
    fields = (text_field,) if text_field else TEXT_FIELDS
    columns = None
    if kind(path)[0] == PARQUET:
        found = parquet_columns(path)
        columns = [field for field in fields if field in found]
        if not columns:
            raise _no_text(path, fields, found)
    any_text = False
    for number, (place, row) in enumerate(rows(path, skipped, columns, on_bytes), 1):
        text = next((value for field in fields if isinstance(value := row.get(field), str)), None)
        if text is not None:
            any_text = True
            yield Doc(encodable(place), source.input, encodable(text))
        elif any_text or number < _ROWS_TO_TRY:
            skipped.add("row without text", place)
        else:
            break
    if not any_text:
        raise _no_text(path, fields, list(row))


def _no_text(path: Path, fields: Sequence[str], found: Sequence[str]) -> FileError:
    keys = ", ".join(repr(key) for key in found[:12]) or "none"
    mend = f"its keys are {keys}; say which holds the text with text_field=KEY"
    return FileError(path, f"rows without a text in {' or '.join(map(repr, fields))}", mend)


def _text_documents(source: Source, path: Path, skipped: Tally, on_bytes: OnBytes) -> Iterator[Doc]:
    on_cut = partial(skipped.add, "half-written file", str(path))
    stream = chunks(path, skipped, on_bytes)
    start: list[bytes] = []
    size = 0
    for chunk in stream:
        start.append(chunk)
        size += len(chunk)
        if size > _WHOLE:
            break
    if size <= _WHOLE:
        encoding = encoding_of(lambda: start, path)
        text = "".join(decode_stream(start, encoding, on_cut))
        yield Doc(encodable(str(path)), source.input, text)
        return
    # The encoding is known only at the end of the file, and documents are given out before: two readings.
    encoding = encoding_of(lambda: chunks(path, Tally()), path)
    texts = decode_stream(_chain(start, stream), encoding, on_cut)
    for number, text in enumerate(_pieces(texts), 1):
        yield Doc(encodable(f"{path}#{number}"), source.input, text)


def _chain(start: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    while start:
        yield start.pop(0)
    yield from rest


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The text in pieces of at most 1 M characters, cut after a blank line, a line, a sentence or a word."""
    buffer = ""
    for text in texts:
        buffer += text
        while len(buffer) > _PIECE:
            cuts = (buffer.rfind(mark, _PIECE // 2, _PIECE) + len(mark) for mark in ("\n\n", "\n", "。", " "))
            cut = next((cut for cut in cuts if cut > _PIECE // 2), _PIECE)
            yield buffer[:cut]
            buffer = buffer[cut:]
    if buffer:
        yield buffer
