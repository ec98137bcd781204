"""The corpus on disk: Parquet shards with the columns `id`, `source` and `text`, one series for each side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from chatwright.corpora.documents import Doc
from chatwright.corpora.split import SIDES, Side
from chatwright.errors import UserError
from chatwright.files import aside_of, writing

_SHARD_CHARACTERS = 1 << 26
_GROUP_CHARACTERS = 1 << 22
_GROUP_DOCUMENTS = 1 << 14
_COLUMNS = ("id", "source", "text")


class CorpusWriter:
    """Writes documents to shards, in order. A context manager: after an exception no shard is left.

    Memory is one row group (about 4 M characters) a side. A shard holds about 64 M characters: 64 MB of
    English, 190 MB of Chinese.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._series = {side: _Series(directory, side) for side in SIDES}

    def write(self, side: Side, doc: Doc) -> None:
        self._series[side].write(doc)

    def __enter__(self) -> Self:
        with writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        if shards(self.directory, "train") or shards(self.directory, "validation"):
            raise UserError(f"{self.directory} already holds a corpus; give a new directory")
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        done = False
        try:
            if kind is None:
                for series in self._series.values():
                    series.close()
                done = True
        finally:
            if not done:
                for series in self._series.values():
                    series.remove()


class _Series:
    """The shards of one side."""

    def __init__(self, directory: Path, side: Side) -> None:
        self._directory, self._side = directory, side
        self._pending: list[Doc] = []
        self._pending_characters = self._shard_characters = 0
        self._writer: Any = None
        self._path: Path | None = None
        self._finished: list[Path] = []

    def write(self, doc: Doc) -> None:
        self._pending.append(doc)
        self._pending_characters += len(doc.text)
        if self._pending_characters >= _GROUP_CHARACTERS or len(self._pending) >= _GROUP_DOCUMENTS:
            self._flush()
            if self._shard_characters >= _SHARD_CHARACTERS:
                self._finish_shard()

    def close(self) -> None:
        if self._pending:
            self._flush()
        self._finish_shard()

    def remove(self) -> None:
        """Take away all that was written."""
        if self._writer is not None:
            # Closing writes the footer, which fails again on the full disk that brought us here.
            try:
                self._writer.close()
            except OSError:
                self._writer.is_open = False
        for path in [*self._finished, *([aside_of(self._path)] if self._path else [])]:
            path.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        values = [[getattr(doc, name) for doc in self._pending] for name in _COLUMNS]
        table = pa.table([pa.array(column, pa.string()) for column in values], list(_COLUMNS))
        with writing(self._directory):
            if self._writer is None:
                self._open(table.schema)
            self._writer.write_table(table, row_group_size=len(self._pending))
        self._shard_characters += self._pending_characters
        self._pending, self._pending_characters = [], 0

    def _open(self, schema: Any) -> None:
        import pyarrow.parquet as pq

        self._path = self._directory / f"{self._side}-{len(self._finished):05d}.parquet"
        settings = {"compression": "zstd", "use_dictionary": ["source"], "write_statistics": False}
        self._writer = pq.ParquetWriter(aside_of(self._path), schema, **settings)

    def _finish_shard(self) -> None:
        if self._writer is None or self._path is None:
            return
        aside = aside_of(self._path)
        with writing(self._directory):
            self._writer.close()
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(self._path)
        self._finished.append(self._path)
        self._writer, self._path, self._shard_characters = None, None, 0


def shards(directory: str | Path, side: Side) -> list[Path]:
    """The shards of one side, in order."""
    return sorted(Path(directory).glob(f"{side}-[0-9]*.parquet"))


def documents(directory: str | Path, side: Side) -> Iterator[str]:
    """Stream the texts of one side (`train` or `validation`), in the order in which they were written."""
    return (doc.text for doc in _stored(directory, side, ["text"]))


def stored(directory: str | Path, side: Side) -> Iterator[Doc]:
    """Like `documents`, with their ids and sources."""
    return _stored(directory, side, list(_COLUMNS))


def count(directory: str | Path, side: Side) -> int:
    """How many documents one side holds; reads only the shards' footers."""
    return sum(int(_open_shard(path).metadata.num_rows) for path in _existing(directory, side))


def _stored(directory: str | Path, side: Side, columns: list[str]) -> Iterator[Doc]:
    empty = dict.fromkeys(_COLUMNS, "")
    for path in _existing(directory, side):
        file = _open_shard(path)
        for batch in file.iter_batches(1024, columns=columns):
            yield from (Doc(**{**empty, **row}) for row in batch.to_pylist())


def _existing(directory: str | Path, side: Side) -> list[Path]:
    if side not in SIDES:
        raise UserError(f"a corpus has no side {side!r}; it has {' and '.join(SIDES)}")
    found = shards(directory, side)
    if not found:
        missing = f"no {side}-00000.parquet in it"
        raise UserError(f"{directory} is not a corpus ({missing}); make one with `chatwright corpus`")
    return found


def _open_shard(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: cannot be read ({said}); make the corpus again") from None
