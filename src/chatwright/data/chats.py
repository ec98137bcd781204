"""Conversations from files of rows, streamed; what is left out is counted."""

from __future__ import annotations

from collections.abc import Iterator

from chatwright.corpora.documents import Tally
from chatwright.data.formats import chat_of
from chatwright.data.record_stream import Paths, stream_records
from chatwright.data.records import Chat


def read_chats(paths: Paths, skipped: Tally | None = None) -> Iterator[Chat]:
    """Stream the chats of JSON Lines, JSON (each also `.gz`, `.zst`) and Parquet files, or folders of them.

    Every row may have any known format. `skipped` counts rows left out by reason, with the first place of
    each. Raises `UserError` for a missing, empty or wholly broken file, for rows of an unknown format, and
    when no conversation is left at all.
    """
    return stream_records(
        paths, skipped, lambda row, place: [chat_of(row, place)], "there is no chat to learn from"
    )
