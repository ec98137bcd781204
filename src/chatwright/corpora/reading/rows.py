"""Rows (JSON objects) out of JSON Lines, JSON arrays, Parquet and CSV, one at a time and each with its place."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from chatwright.corpora.reading.encodings import as_utf8, decode_stream
from chatwright.corpora.reading.parquet import batches
from chatwright.corpora.reading.raw import (
    PARQUET,
    ROW_TYPES,
    TABLE_TYPES,
    FileError,
    OnBytes,
    chunks,
    ignore,
    kind,
)
from chatwright.corpora.reading.skipped import note_skip

Row: TypeAlias = dict[str, Any]

_LONGEST_LINE = 64 << 20
_LONGEST_VALUE = 1 << 25
# A value takes about a hundred bytes when it is parsed, and two characters of JSON.
_MOST_VALUES = 4_000_000
_LONGEST_FIELD = 16 << 20
_SEPARATORS = re.compile(r"[\s,]*")


class _Broken(ValueError):
    """A row that cannot be read; says why."""


def rows(
    path: str | Path,
    skipped: Counter[str],
    columns: Sequence[str] | None = None,
    on_bytes: OnBytes = ignore,
    name: str = "",
) -> Iterator[tuple[str, Row]]:
    """Stream `(place, row)` from a `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` (each also `.gz`, `.zst`) or
    `.parquet` file.

    The place is `file:line`, or `file:row` in Parquet and CSV, from 1; `name` stands for the file where it is given.
    What is not a whole JSON object is counted in `skipped`, with its first place where that is a `Tally`.
    `columns` limits what is read of a Parquet file; `on_bytes` is told how many bytes of the file were read. A file
    that cannot be read, or that holds only broken rows, is a `FileError` (a `UserError`).
    """
    path = Path(path)
    name = name or str(path)
    type_, compression = kind(path)
    if type_ == PARQUET and not compression:
        found = _parquet_rows(path, columns, on_bytes)
    elif type_ == ".json":
        found = _json(path, skipped, on_bytes)
    elif type_ in ROW_TYPES:
        found = _json_lines(_lines(as_utf8(chunks(path, skipped, on_bytes))))
    elif type_ in TABLE_TYPES:
        found = _table(path, skipped, on_bytes)
    else:
        mend = f"give rows as {', '.join((*ROW_TYPES, *TABLE_TYPES))} (also .gz, .zst) or {PARQUET}"
        raise FileError(path, f"no rows are read from files of the type {type_ or 'none'!r}", mend)
    whole, broken = 0, ""
    for line, value in found:
        if isinstance(value, dict):
            whole += 1
            yield f"{name}:{line}", value
        else:
            reason = _reason(value)
            broken = broken or f"the first, {path}:{line}, is a {reason}"
            note_skip(skipped, reason, f"{path}:{line}")
    if not whole:
        raise FileError(path, "no whole row in it", broken or "it holds no rows; leave it out")


def _reason(value: Any) -> str:
    if isinstance(value, _Broken):
        return str(value)
    return "broken JSON" if isinstance(value, ValueError) else "row that is not an object"


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is longer than memory should be spent on."""
    pending: list[bytes] = []
    size, skipping = 0, False
    for piece in pieces:
        first, *rest = piece.split(b"\n")
        size += len(first)
        if size > _LONGEST_LINE:
            pending, skipping = [], True
        else:
            pending.append(first)
        if rest:
            yield None if skipping else b"".join(pending)
            yield from rest[:-1]
            pending, size, skipping = [rest[-1]], len(rest[-1]), False
    yield None if skipping else b"".join(pending)


def _json_lines(lines: Iterable[bytes | None]) -> Iterator[tuple[int, Any]]:
    """`(line, value)` for each line that is not blank; the value of a broken one is a `ValueError`."""
    for number, line in enumerate(lines, 1):
        if line is None:
            yield number, _Broken(f"line of more than {_LONGEST_LINE >> 20} MB")
        elif line and not line.isspace():
            yield number, _parse(line)


def _parse(line: bytes) -> Any:
    if _is_dense(line):
        return _Broken(f"row of more than {_MOST_VALUES:,} values")
    try:
        return orjson.loads(line)
    except ValueError:
        return _parse_leniently(line)


def _parse_leniently(line: bytes) -> Any:
    """What the fast parser refuses and Python's takes: NaN, halves of surrogate pairs."""
    try:
        return json.loads(line)
    except RecursionError:
        return ValueError("nested too deeply")
    except ValueError as error:
        return error


def _json(path: Path, skipped: Counter[str], on_bytes: OnBytes) -> Iterator[tuple[int, Any]]:
    stream = as_utf8(chunks(path, skipped, on_bytes))
    first = next(stream, b"")
    line = first.lstrip().partition(b"\n")[0]
    # JSON Lines often come with the name .json; a broken line then costs one line, not the rest of the file.
    if line.startswith(b"{") and isinstance(_parse(line), dict):
        yield from _json_lines(_lines(chain([first], stream)))
        return
    try:
        yield from _values(decode_stream(chain([first], stream), "utf-8"))
    except UnicodeDecodeError:
        raise FileError(path, "not UTF-8", "convert it (iconv -f ENCODING -t UTF-8)") from None


def _parquet_rows(path: Path, columns: Sequence[str] | None, on_bytes: OnBytes) -> Iterator[tuple[int, Any]]:
    for first, batch in batches(path, columns, on_bytes):
        yield from enumerate(batch.to_pylist(), first)


def _table(path: Path, skipped: Counter[str], on_bytes: OnBytes) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    texts = decode_stream(as_utf8(chunks(path, skipped, on_bytes)), "utf-8")
    tabs = kind(path)[0] == ".tsv"
    reader = csv.DictReader(
        _text_lines(texts),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    number = 0
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise FileError(path, "not UTF-8", "convert it (iconv -f ENCODING -t UTF-8)") from None
        except csv.Error as error:
            yield number, _Broken(f"broken CSV ({error})")
            return
        yield number, {key: value for key, value in row.items() if isinstance(key, str)}


def _text_lines(texts: Iterable[str]) -> Iterator[str]:
    """Lines with their ends, of at most the length of the longest field."""
    pending = ""
    for text in texts:
        *lines, pending = (pending + text).split("\n")
        for line in lines:
            yield f"{line}\n"
        if len(pending) > _LONGEST_FIELD:
            raise csv.Error(f"line of more than {_LONGEST_FIELD >> 20} MB")
    if pending:
        yield pending


def _values(texts: Iterator[str]) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON array, or a series of JSON values, without holding more than one of them.

    Nothing can be read after a broken element: it is given as a `ValueError`, and the series ends.
    """
    decoder = json.JSONDecoder()
    buffer, at, line, opened = next(texts, ""), 0, 1, False
    while True:
        start, at = at, _SEPARATORS.match(buffer, at).end()  # type: ignore[union-attr]
        line += buffer.count("\n", start, at)
        if not opened and buffer.startswith("[", at):
            opened, at = True, at + 1
            continue
        if opened and buffer.startswith("]", at):
            return
        try:
            value, end = decoder.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            grown = _more(buffer[at:], texts)
            if grown is not None:
                buffer, at = grown, 0
            else:
                if opened or at < len(buffer):
                    yield line, ValueError(str(error))
                return
        else:
            yield line, value
            line += buffer.count("\n", at, end)
            at, opened = end, opened


def _more(rest: str, texts: Iterator[str]) -> str | None:
    """At least twice as much text, so that parsing a long element again and again stays linear in all.

    None at the end of the text, and where the element is longer, or of more values, than memory should be spent on.
    """
    if len(rest) > _LONGEST_VALUE or _is_dense(rest):
        return None
    pieces, size = [rest], 0
    while size <= len(rest) and (piece := next(texts, None)) is not None:
        pieces.append(piece)
        size += len(piece)
    return "".join(pieces) if size else None


def _is_dense(value: str | bytes) -> bool:
    marks = (",", "[", "{") if isinstance(value, str) else (b",", b"[", b"{")
    return len(value) > _MOST_VALUES and sum(map(value.count, marks)) > _MOST_VALUES  # type: ignore[arg-type]
