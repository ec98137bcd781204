"""Pairs of a source and a target text from files of rows, streamed; what is left out is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatwright.corpora.documents import Tally, encodable
from chatwright.corpora.reading.raw import FileError, chunks, kind
from chatwright.corpora.reading.rows import rows
from chatwright.data.formats import Row, SkipRow
from chatwright.data.record_stream import Paths, stream_records
from chatwright.errors import UserError

LAYOUTS = (("src", "tgt"), ("source", "target"), ("prompt", "completion"))
"""The fields of source and target that are known by their names, the first that a row has."""
TSV = ".tsv"
_NESTED = "translation"


@dataclass(frozen=True)
class Pair:
    """A text and what it is to be turned into, and where they came from (`file:line`)."""

    source: str
    target: str
    place: str = ""


@dataclass(frozen=True)
class Fields:
    """Which fields of a row hold source and target; None: known by their names, or the first two columns of a TSV."""

    source: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        if (self.source is None) != (self.target is None):
            raise UserError("source= and target= belong together; give both")
        if self.source is not None and self.source == self.target:
            raise UserError(f"source={self.source} and target={self.target} are the same field")


def pair_of(row: Row, place: str, fields: Fields = Fields()) -> Pair:
    """The pair of a row, with `place` (`file:line`) as where it came from; `{"translation": {…}}` is looked into.

    Raises `SkipRow` for one whose source or target is empty or no text, and `UserError` where the fields are not there.
    """
    nested = row.get(_NESTED)
    found = nested if isinstance(nested, Mapping) else row
    source, target = _named(found, place, fields)
    if not isinstance(found[source], str) or not isinstance(found[target], str):
        raise SkipRow("source or target that is not text")
    pair = Pair(encodable(found[source]).strip(), encodable(found[target]).strip(), place)
    if not pair.source or not pair.target:
        raise SkipRow("empty source or target")
    return pair


def _named(row: Row, place: str, fields: Fields) -> tuple[str, str]:
    keys = ", ".join(map(repr, row)) or "none"
    if fields.source is not None and fields.target is not None:
        lacking = [name for name in (fields.source, fields.target) if name not in row]
        if lacking:
            raise UserError(f"{place}: there is no field {lacking[0]!r}; the row has {keys}")
        return fields.source, fields.target
    for source, target in LAYOUTS:
        if source in row and target in row:
            return source, target
    names = list(row)[:2]
    mend = f"as source={names[0]} target={names[1]}" if len(names) == 2 else "with source=KEY target=KEY"
    raise UserError(f"{place}: which fields are source and target? The row has {keys}; say it, {mend}")


def read_pairs(paths: Paths, fields: Fields = Fields(), skipped: Tally | None = None) -> Iterator[Pair]:
    """Stream the pairs of JSON Lines, JSON, tab-separated (each also `.gz`, `.zst`) and Parquet files, or folders of
    them.

    `skipped` counts rows left out by reason, with the first place of each. Raises `UserError` for a missing, empty or
    wholly broken file, for rows without the fields, and when no pair is left at all.
    """
    return stream_records(
        paths,
        skipped,
        lambda row, place: [pair_of(row, place, fields)],
        "there is no pair to learn from",
        lambda path, notes: _rows(path, fields, notes),
    )


def _rows(path: Path, fields: Fields, skipped: Tally) -> Iterator[tuple[str, Row]]:
    if kind(path)[0] == TSV:
        return _columns(path, fields, skipped)
    return rows(path, skipped)


def _columns(path: Path, fields: Fields, skipped: Tally) -> Iterator[tuple[str, Row]]:
    """The lines of a tab-separated file as rows; the first line names the columns where source and target, or a known
    pair of names, are in it, else they are numbered from 1."""
    names: list[str] | None = None
    found = False
    for number, line in enumerate(_lines(chunks(path, skipped)), 1):
        cells = line.split("\t")
        if number == 1:
            wanted = [(fields.source, fields.target)] if fields.source else LAYOUTS
            if any(set(pair) <= set(cells) for pair in wanted):
                names = cells
                continue
        if not line.strip():
            continue
        if len(cells) < 2:
            skipped.add("line without a tab", f"{path}:{number}")
            continue
        found = True
        if names is not None:
            yield f"{path}:{number}", dict(zip(names, cells, strict=False))
        elif fields.source is None:
            yield f"{path}:{number}", {"src": cells[0], "tgt": cells[1]}
        else:
            yield f"{path}:{number}", {str(column): cell for column, cell in enumerate(cells, 1)}
    if not found:
        raise FileError(path, "no line with two columns in it", "put a tab between source and target")


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace").rstrip("\r") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace").rstrip("\r")
