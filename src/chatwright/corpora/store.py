"""The corpus on disk: Parquet shards with the columns of `COLUMNS`, one series for each side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from chatwright.corpora.documents import Doc
from chatwright.corpora.split import SIDES, Side
from chatwright.errors import UserError
from chatwright.files import aside_of, sync_file, writing

_GROUP_CHARACTERS = 1 << 22
_GROUP_DOCUMENTS = 1 << 14
_READ_DOCUMENTS = 1024
COLUMNS = ("id", "source", "language", "marks", "text")
"""The columns of a shard."""

_FIELDS = ("id", "source", "text", "language", "marks")


class ShardWriter:
    """Writes documents, in order, to one Parquet file. A context manager: after an exception no file is left.

    Memory is one row group, about 4 M characters.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, aside_of(path)
        self._pending: list[Doc] = []
        self._characters = 0
        self._writer: Any = None

    def write(self, doc: Doc) -> None:
        self._pending.append(doc)
        self._characters += len(doc.text)
        if self._characters >= _GROUP_CHARACTERS or len(self._pending) >= _GROUP_DOCUMENTS:
            self._flush()

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        # The indices of a dictionary page are written in order of first sight: the same rows, the same bytes.
        settings = {
            "compression": "zstd",
            "use_dictionary": ["source", "language"],
            "write_statistics": False,
        }
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._writer = pq.ParquetWriter(self._aside, _schema(), **settings)
            except OSError:
                self._aside.unlink(missing_ok=True)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        done = False
        try:
            if kind is None:
                self._flush()
                with writing(self._path):
                    self._writer.close()
                    sync_file(self._aside)
                    self._aside.replace(self._path)
                done = True
        finally:
            if not done:
                self._remove()

    def _remove(self) -> None:
        # Closing writes the footer, which fails again on the full disk that brought us here.
        try:
            self._writer.close()
        except OSError:
            self._writer.is_open = False
        self._aside.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._pending:
            columns = [[getattr(doc, name) for doc in self._pending] for name in COLUMNS]
            table = pa.table(
                [pa.array(c, f.type) for c, f in zip(columns, _schema(), strict=True)], _schema()
            )
            with writing(self._path):
                self._writer.write_table(table, row_group_size=len(self._pending))
        self._pending, self._characters = [], 0


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"marks": pa.list_(pa.string())}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def shards(directory: str | Path, side: Side) -> list[Path]:
    """The shards of one side, in order."""
    return sorted(Path(directory).glob(f"{side}-[0-9]*.parquet"))


def documents(directory: str | Path, side: Side) -> Iterator[str]:
    """Stream the texts of one side (`train` or `validation`), in the order in which they were written."""
    return (doc.text for doc in _stored(directory, side, ["text"]))


def stored(directory: str | Path, side: Side) -> Iterator[Doc]:
    """Like `documents`, with their ids, inputs, languages and marks."""
    return _stored(directory, side, list(COLUMNS))


def stored_in(path: Path) -> Iterator[Doc]:
    """The documents of one shard."""
    return _stored_in(path, list(COLUMNS))


def count(directory: str | Path, side: Side) -> int:
    """How many documents one side holds; reads only the shards' footers."""
    return sum(int(_open_shard(path).metadata.num_rows) for path in _existing(directory, side))


def _stored(directory: str | Path, side: Side, columns: list[str]) -> Iterator[Doc]:
    for path in _existing(directory, side):
        yield from _stored_in(path, columns)


def _stored_in(path: Path, columns: list[str]) -> Iterator[Doc]:
    empty = {name: [""] for name in COLUMNS} | {"marks": [()]}
    for batch in _open_shard(path).iter_batches(_READ_DOCUMENTS, columns=columns):
        found = batch.to_pydict()
        values = (found.get(name) or empty[name] * len(batch) for name in _FIELDS)
        rows = zip(*values, strict=True)
        yield from (Doc(i, s, text, lang, tuple(marks)) for i, s, text, lang, marks in rows)


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
