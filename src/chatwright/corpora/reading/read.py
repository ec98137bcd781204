"""Documents out of sources, in order, whatever they are written in; what cannot be read is told, and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing

from chatwright.corpora.documents import Doc, encodable, path_text
from chatwright.corpora.reading import texts
from chatwright.corpora.reading.child import READERS
from chatwright.corpora.reading.discover import Source, discover
from chatwright.corpora.reading.file import TEXT_FIELDS, File
from chatwright.corpora.reading.limits import Child, Limits
from chatwright.corpora.reading.raw import TEXT_TYPES, FileError, OnBytes, ignore, kind
from chatwright.corpora.reading.row_texts import texts_of
from chatwright.corpora.reading.rows import rows
from chatwright.corpora.reading.skipped import note_file
from chatwright.registry import lookup

__all__ = ["TEXT_FIELDS", "FileError", "Limits", "Source", "discover", "read", "rows"]


def read(
    sources: Iterable[Source],
    skipped: Counter[str],
    text_field: str | None = None,
    on_bytes: OnBytes = ignore,
    limits: Limits | None = None,
) -> Iterator[Doc]:
    """Stream the documents of the sources, in order, in bounded memory.

    A text file, an HTML page and a PDF are one document; a text of more than 16 MB is several, each of about 1 MB and
    ending at a blank line where there is one. A row of JSON Lines, JSON, CSV or Parquet is one document:
    `text_field`, or the first of `TEXT_FIELDS` that the row has; so is a record of a WARC. What cannot be read within
    `limits` is a UserError where the user named the file; met in a folder it is counted, and listed in a `Skipped`.
    """
    with closing(Child(limits or Limits())) as child:
        for source in sources:
            if source.path is None:
                yield from _named(source)
                continue
            name = source.name or path_text(source.path)
            file = File(source.path, name, skipped, text_field, on_bytes)
            try:
                for id_, text in _documents(file, child):
                    yield Doc(encodable(id_), source.input, encodable(text))
            except FileError as error:
                if source.named:
                    raise
                note_file(skipped, error.reason, str(error.path), error.mend)


def _documents(file: File, child: Child) -> Iterator[tuple[str, str]]:
    type_ = kind(file.path)[0]
    if type_ in TEXT_TYPES:
        return texts.documents(file)
    if type_ in READERS:
        return child.documents(file)
    return texts_of(file, rows(file.path, file.skipped, on_bytes=file.on_bytes, name=file.name))


def _named(source: Source) -> Iterator[Doc]:
    kind_, _, name = source.input.partition(":")
    for id_, text in lookup("corpus_source", kind_)(name):
        yield Doc(encodable(id_), source.input, encodable(text))
