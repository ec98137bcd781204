"""Documents out of web archives (WARC): the pages of responses, and texts that were extracted before (WET)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.html import LARGEST, decode, page_text
from chatwright.corpora.reading.pdf import pdf_text
from chatwright.corpora.reading.raw import FileError, chunks
from chatwright.corpora.reading.skipped import note_skip

_HTML = ("text/html", "application/xhtml+xml")
_PDF = "application/pdf"
_LONGEST_ADDRESS = 200


class _Stream:
    """The decompressed bytes of a file, as something that can be read."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._at >= len(self._rest):
            self._rest, self._at = next(self._source, b""), 0
        end = len(self._rest) if size < 0 else self._at + size
        data = self._rest[self._at : end]
        self._at += len(data)
        return data

    def tell(self) -> int:
        """The place is of no use to anybody."""
        return 0

    def close(self) -> None:
        """Nothing is open."""


def documents(file: File) -> Iterator[tuple[str, str]]:
    """`(id, text)` of each record that holds a page, a text or a PDF; ids end with the address. See `File`."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    stream: Any = _Stream(chunks(file.path, file.skipped, file.on_bytes))
    records = ArchiveIterator(stream, record_types=wanted, parse_http=True, stream_detect=False)
    found = 0
    try:
        for number, record in islice(enumerate(records, 1), file.start, None):
            found = number
            file.begin()
            address = (record.headers.get("WARC-Target-URI") or "").strip("<>")[:_LONGEST_ADDRESS]
            place = f"{file.name}:{number} {address}".rstrip()
            text = _text(record, file, place)
            if text:
                yield place, text
    except OSError as error:
        raise _broken(file, error) from None
    if not found and not file.start:
        raise FileError(
            file.path, "no record of a page in it", "give a WARC file with responses, or a WET file"
        )


def _broken(file: File, error: OSError) -> FileError:
    said = " ".join(str(error).split())[:120]
    return FileError(file.path, "broken WARC file", f"make it again ({said})")


def _text(record: Any, file: File, place: str) -> str:
    """The text of a record; empty where it is none, and then that is noted."""
    type_, charset = _type_of(record)
    if record.http_headers is not None and record.http_headers.status_code not in (None, 200):
        note_skip(file.skipped, "record of an error page", place)
        return ""
    if type_ not in (*_HTML, _PDF) and not type_.startswith("text/plain"):
        note_skip(file.skipped, f"record of the type {type_ or 'none'}", place)
        return ""
    try:
        data = _body(record)
    except (OSError, ValueError, zlib.error):
        note_skip(file.skipped, "broken record", place)
        return ""
    if len(data) > LARGEST:
        note_skip(file.skipped, f"record of more than {LARGEST >> 20} MB", place)
        return ""
    try:
        text = _parsed(data, type_, charset, file)
    except FileError as error:
        note_skip(file.skipped, f"record: {error.reason}", place)
        return ""
    if not text:
        note_skip(file.skipped, "record without text", place)
    return text


def _body(record: Any) -> bytes:
    """What a record holds, of a response without the packings that HTTP knows; cut off beyond the largest size.

    Raises OSError, ValueError and zlib.error for what is not packed as it says. The library could unpack it, too, but
    gives up the whole archive where that fails.
    """
    data: bytes = record.reader.read(LARGEST + 1)
    head = record.http_headers
    if head is None:
        return data
    if "chunked" in (head.get("Transfer-Encoding") or "").lower():
        data = _unchunked(data)
    packing = (head.get("Content-Encoding") or "").strip().lower()
    if packing in ("gzip", "x-gzip"):
        return zlib.decompressobj(31).decompress(data, LARGEST + 1)
    if packing == "deflate":
        # Half of the servers leave out the head of zlib's format.
        return zlib.decompressobj(15 if data[:1] == b"\x78" else -15).decompress(data, LARGEST + 1)
    if packing not in ("", "identity"):
        raise ValueError(packing)
    return data


def _unchunked(data: bytes) -> bytes:
    parts, at = [], 0
    while at < len(data):
        end = data.index(b"\r\n", at)
        size = int(data[at:end].partition(b";")[0], 16)
        parts.append(data[end + 2 : end + 2 + size])
        at = end + size + 4
        if not size:
            break
    return b"".join(parts)


def _parsed(data: bytes, type_: str, charset: str | None, file: File) -> str:
    if type_ == _PDF:
        return pdf_text(data, file)
    text = decode(data, file, charset)
    return page_text(text) if type_ in _HTML else text.strip()


def _type_of(record: Any) -> tuple[str, str | None]:
    if record.http_headers is not None:
        return (record.http_content_type or "").lower(), record.http_charset
    said = record.headers.get("Content-Type") or ""
    type_, _, rest = said.partition(";")
    charset = rest.partition("charset=")[2].strip(" \"'") or None
    return type_.strip().lower(), charset
