"""Conversations from files of rows, streamed; what is left out is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.raw import PARQUET, ROW_TYPES, kind
from chatwright.corpora.reading.rows import rows
from chatwright.data.formats import SkipRow, chat_of
from chatwright.data.records import Chat
from chatwright.errors import UserError


def read_chats(paths: str | Path | Sequence[str | Path], skipped: Tally | None = None) -> Iterator[Chat]:
    """Stream the chats of JSON Lines, JSON (each also `.gz`, `.zst`) and Parquet files, or folders of them.

    Every row may have any known format. `skipped` counts rows left out by reason, with the first place of
    each. Raises `UserError` for a missing, empty or wholly broken file, for rows of an unknown format, and
    when no conversation is left at all.
    """
    skipped = Tally() if skipped is None else skipped
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    found = 0
    for path in chain_files(named):
        for place, row in rows(path, skipped):
            try:
                chat = chat_of(row, place)
            except SkipRow as reason:
                skipped.add(str(reason), place)
                continue
            found += 1
            yield chat
    if not found:
        raise UserError(f"there is no chat to learn from in {', '.join(map(str, named))}: {_told(skipped)}")


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


def _told(skipped: Tally) -> str:
    told = [f"{count} × {reason} (first {skipped.places[reason]})" for reason, count in skipped.items()]
    return "; ".join(told) or "no file was given"
