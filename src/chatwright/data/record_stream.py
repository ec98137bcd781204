"""Records of any kind from files of rows, streamed; what is left out is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.raw import PARQUET, ROW_TYPES, kind
from chatwright.corpora.reading.rows import rows
from chatwright.data.formats import Row, SkipRow
from chatwright.errors import UserError

T = TypeVar("T")
Paths = str | Path | Sequence[str | Path]


def stream_records(
    paths: Paths,
    skipped: Tally | None,
    records: Callable[[Row, str], Iterable[T]],
    nothing: str,
    rows_of: Callable[[Path, Tally], Iterator[tuple[str, Row]]] = rows,
) -> Iterator[T]:
    """What `records` makes of each row and its place (`file:line`), of files or of folders of them.

    A row for which it raises `SkipRow` is counted in `skipped`, with the first place of each reason. Raises `UserError` with
    `nothing` ("there is no chat to learn from") and the counts when no row is left.
    """
    skipped = Tally() if skipped is None else skipped
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    found = False
    for path in chain_files(named):
        for place, row in rows_of(path, skipped):
            try:
                new = records(row, place)
            except SkipRow as reason:
                skipped.add(str(reason), place)
                continue
            found = True
            yield from new
    if not found:
        told = [f"{count} × {reason} (first {skipped.places[reason]})" for reason, count in skipped.items()]
        why = "; ".join(told) or ("it has no rows" if named else "no file was given")
        raise UserError(f"{nothing} in {', '.join(map(str, named))}: {why}")


def chain_files(paths: Sequence[str | Path]) -> Iterator[Path]:
    """The files named, and in their order the files of rows in the folders named."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.rglob("*") if file.is_file() and _holds_rows(file))
        if not inside:
            raise UserError(
                f"the folder {path} has no files of rows; give {', '.join(ROW_TYPES)} or {PARQUET}"
            )
        yield from inside


def _holds_rows(path: Path) -> bool:
    type_, compression = kind(path)
    return type_ in ROW_TYPES or (type_ == PARQUET and not compression)
