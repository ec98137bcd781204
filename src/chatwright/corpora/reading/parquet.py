"""Rows and texts out of Parquet, a batch of bounded size at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError, OnBytes, open_file
from chatwright.corpora.reading.row_texts import no_text, texts_of

_BATCH_BYTES = 16 << 20
_BATCH_ROWS = 4096
_BUFFER = 1 << 20


def columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file. Raises `FileError` for a broken file."""
    return [str(name) for name in _open(path).schema_arrow.names]


def batches(
    path: Path, columns: Sequence[str] | None, on_bytes: OnBytes, start: int = 0
) -> Iterator[tuple[int, Any]]:
    """`(number of the first row, record batch)`, batches of about 16 MB; the first `start` of them are left out."""
    import pyarrow as pa

    file = _open(path)
    size = path.stat().st_size
    number, done = 1, 0
    try:
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            width = max(1, facts.total_byte_size // max(1, facts.num_rows))
            batch_size = min(_BATCH_ROWS, max(1, _BATCH_BYTES // width))
            for batch in file.iter_batches(batch_size, [group], columns, use_threads=False):
                if done >= start:
                    yield number, batch
                number += batch.num_rows
                done += 1
            on_bytes(size // file.num_row_groups)
    except pa.ArrowMemoryError:
        raise MemoryError from None
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def documents(file: File) -> Iterator[tuple[str, str]]:
    """`(id, text)` of each row that has a text. See `File`."""
    found = columns(file.path)
    chosen = [field for field in file.fields if field in found]
    if not chosen:
        raise no_text(file, found)
    yield from texts_of(file, _rows(file, chosen))


def _rows(file: File, chosen: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    source = batches(file.path, chosen, file.on_bytes, file.start)
    while True:
        file.begin()
        entry = next(source, None)
        if entry is None:
            return
        first, batch = entry
        for number, row in enumerate(batch.to_pylist(), first):
            yield f"{file.name}:{number}", row


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    open_file(path).close()
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> FileError:
    said = " ".join(str(error).split())[:120]
    return FileError(path, "broken or half-written Parquet file", f"make it again ({said})")
