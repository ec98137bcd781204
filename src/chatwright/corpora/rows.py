"""Rows (JSON objects) out of JSON Lines, JSON arrays and Parquet, one at a time and each with its place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from chatwright.corpora.encodings import decode_stream
from chatwright.corpora.raw import (
    PARQUET,
    ROW_TYPES,
    FileError,
    OnBytes,
    chunks,
    ignore,
    kind,
    note_skip,
    open_file,
)

Row: TypeAlias = dict[str, Any]

_BATCH_BYTES = 16 << 20
_LONGEST_VALUE = 1 << 28
_SEPARATORS = re.compile(r"[\s,]*")


def rows(
    path: str | Path,
    skipped: Counter[str],
    columns: Sequence[str] | None = None,
    on_bytes: OnBytes = ignore,
) -> Iterator[tuple[str, Row]]:
    """Stream `(place, row)` from a `.jsonl`, `.ndjson`, `.json` (each also `.gz`, `.zst`) or `.parquet` file.

    The place is `file:line`, or `file:row` in Parquet, from 1. What is not a whole JSON object is counted in
    `skipped`, with its first place where that is a `Tally`. `columns` limits what is read of a Parquet file;
    `on_bytes` is told how many bytes of the file were read. A file that cannot be read, or that holds only
    broken rows, is a `FileError` (a `UserError`).
    """
    path = Path(path)
    type_, compression = kind(path)
    if type_ == PARQUET and not compression:
        found = _parquet(path, columns, on_bytes)
    elif type_ == ".json":
        found = _json(path, skipped, on_bytes)
    elif type_ in ROW_TYPES:
        found = _json_lines(_lines(chunks(path, skipped, on_bytes)))
    else:
        mend = f"give rows as {', '.join(ROW_TYPES)} (also .gz, .zst) or {PARQUET}"
        raise FileError(path, f"no rows are read from files of the type {type_ or 'none'!r}", mend)
    whole, broken = 0, ""
    for line, value in found:
        if isinstance(value, dict):
            whole += 1
            yield f"{path}:{line}", value
        else:
            reason = "broken JSON" if isinstance(value, ValueError) else "row that is not an object"
            broken = broken or f"the first, {path}:{line}, is a {reason}"
            note_skip(skipped, reason, f"{path}:{line}")
    if not whole:
        raise FileError(path, "no whole row in it", broken or "it holds no rows; leave it out")


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file."""
    return [str(name) for name in _open_parquet(path).schema_arrow.names]


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    for piece in pieces:
        first, *rest = piece.split(b"\n")
        pending.append(first)
        if rest:
            yield b"".join(pending)
            yield from rest[:-1]
            pending = [rest[-1]]
    yield b"".join(pending)


def _json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """`(line, value)` for each line that is not blank; the value of a broken one is a `ValueError`."""
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        yield number, _parse(line)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        return ValueError("nested too deeply")
    except ValueError as error:
        return error


def _json(path: Path, skipped: Counter[str], on_bytes: OnBytes) -> Iterator[tuple[int, Any]]:
    stream = chunks(path, skipped, on_bytes)
    first = next(stream, b"")
    line = first.lstrip().partition(b"\n")[0]
    # JSON Lines often come with the name .json; a broken line then costs one line, not the rest of the file.
    if line.startswith(b"{") and isinstance(_parse(line), dict):
        yield from _json_lines(_lines(_chain(first, stream)))
        return
    try:
        yield from _values(decode_stream(_chain(first, stream), "utf-8"))
    except UnicodeDecodeError:
        raise FileError(path, "not UTF-8", "convert it (iconv -f ENCODING -t UTF-8)") from None


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


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
    """At least twice as much text, so that parsing a long element again and again stays linear in all."""
    if len(rest) > _LONGEST_VALUE:
        return None
    pieces, size = [rest], 0
    while size <= len(rest) and (piece := next(texts, None)) is not None:
        pieces.append(piece)
        size += len(piece)
    return "".join(pieces) if size else None


def _parquet(path: Path, columns: Sequence[str] | None, on_bytes: OnBytes) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa

    file = _open_parquet(path)
    size = path.stat().st_size
    number = 0
    try:
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            width = max(1, facts.total_byte_size // max(1, facts.num_rows))
            batch_size = min(4096, max(1, _BATCH_BYTES // width))
            for batch in file.iter_batches(batch_size, row_groups=[group], columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
            on_bytes(size // file.num_row_groups)
    except (pa.ArrowException, OSError) as error:
        raise _broken_parquet(path, error) from None


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    open_file(path).close()
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _broken_parquet(path, error) from None


def _broken_parquet(path: Path, error: Exception) -> FileError:
    said = " ".join(str(error).split())[:120]
    return FileError(path, "broken or half-written Parquet file", f"make it again ({said})")
