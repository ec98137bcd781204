"""Documents out of text files: the file whole, or of a large one pieces that end where a reader would pause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from chatwright.corpora.reading.encodings import decode_stream, encoding_of
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import chunks
from chatwright.corpora.reading.skipped import Skipped, note_file

_WHOLE = 16 << 20
_PIECE = 1 << 20


def documents(file: File) -> Iterator[tuple[str, str]]:
    """`(id, text)`: the whole text, or of more than 16 MB several, each of about 1 MB. See `File`."""
    path = file.path
    on_cut = partial(note_file, file.skipped, "half-written file", str(path))
    stream = chunks(path, file.skipped, file.on_bytes)
    start: list[bytes] = []
    size = 0
    for chunk in stream:
        start.append(chunk)
        size += len(chunk)
        if size > _WHOLE:
            break
    if size <= _WHOLE:
        encoding = encoding_of(lambda: start, path)
        yield file.name, "".join(decode_stream(start, encoding, on_cut)).removeprefix("\ufeff")
        return
    # The encoding is known only at the end of the file, and documents are given out before: two readings.
    encoding = encoding_of(lambda: chunks(path, Skipped()), path)
    texts = decode_stream(_chain(start, stream), encoding, on_cut)
    for number, text in enumerate(_pieces(texts), 1):
        yield f"{file.name}#{number}", text


def _chain(start: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    while start:
        yield start.pop(0)
    yield from rest


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The text in pieces of at most 1 M characters, cut after a blank line, a line, a sentence or a word."""
    buffer = ""
    for text in texts:
        buffer += text
        start = 0
        while len(buffer) - start > _PIECE:
            middle, end = start + _PIECE // 2, start + _PIECE
            cuts = (buffer.rfind(mark, middle, end) + len(mark) for mark in ("\n\n", "\n", "。", " "))
            cut = next((cut for cut in cuts if cut > middle), end)
            yield buffer[start:cut]
            start = cut
        buffer = buffer[start:]
    if buffer:
        yield buffer
