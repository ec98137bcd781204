"""Bytes out of files: plain, gzip or Zstandard, UTF-16 turned into UTF-8, in chunks of bounded size."""

from __future__ import annotations

import codecs
import errno
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from chatwright.corpora.documents import Tally, encodable
from chatwright.errors import UserError

TEXT_TYPES = (".txt", ".text", ".md", ".markdown", ".rst")
ROW_TYPES = (".jsonl", ".ndjson", ".json")
COMPRESSIONS = (".gz", ".zst")
PARQUET = ".parquet"

_CHUNK = 1 << 20
# A Zstandard block of 4 bytes can hold 128 kB, and its decompressor takes no limit: small steps bound memory.
_STEP = {".gz": 1 << 16, ".zst": 1 << 11}
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

OnBytes = Callable[[int], None]


class FileError(UserError):
    """A file that gives nothing. Fatal for a file that the user named; counted under `reason` in a folder."""

    def __init__(self, path: Path, reason: str, mend: str) -> None:
        super().__init__(encodable(f"{path}: {reason}; {mend}"))
        self.path = path
        self.reason = reason


def ignore(count: int) -> None:
    """The progress callback of those who do not watch."""


def note_skip(skipped: Counter[str], reason: str, place: str) -> None:
    """Count a skipped thing, with its place where the counter remembers places."""
    if isinstance(skipped, Tally):
        skipped.add(reason, place)
    else:
        skipped[reason] += 1


def kind(path: Path) -> tuple[str, str]:
    """`(type, compression)` of a file by its name, as `(".jsonl", ".gz")`; compression may be empty."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[0] if len(suffixes) == 2 else "", suffixes[-1])
    return (suffixes[-1] if suffixes else "", "")


def is_known(path: Path) -> bool:
    """Whether files of this name can be read."""
    type_, compression = kind(path)
    return type_ in TEXT_TYPES + ROW_TYPES or (type_ == PARQUET and not compression)


def unreadable(path: Path, error: OSError) -> FileError:
    """The system's refusal to open or read a file, as a `FileError`."""
    if error.errno == errno.ENOENT:
        return FileError(path, "no such file", "check the path")
    if error.errno in (errno.EACCES, errno.EPERM):
        return FileError(path, "no permission to read it", "change that (chmod +r) or leave it out")
    if error.errno == errno.EISDIR:
        return FileError(path, "is a folder, not a file", "name a file in it")
    return FileError(path, "cannot be read", f"the system says: {error.strerror or error}")


def open_file(path: Path) -> BinaryIO:
    """Open for reading; a missing, forbidden or empty file is a `FileError`."""
    try:
        file = path.open("rb")
        if not file.peek(1):
            file.close()
            raise FileError(path, "empty file", "leave it out or give one with text in it")
    except OSError as error:
        raise unreadable(path, error) from None
    return file


def chunks(path: Path, skipped: Counter[str], on_bytes: OnBytes = ignore) -> Iterator[bytes]:
    """The content in chunks of about 1 MB, decompressed, no byte order mark; UTF-16 with one becomes UTF-8.

    A compressed file that ends early gives what could be read and is counted as `half-written file`.
    `on_bytes` is told how many bytes of the file itself were read.
    """
    stream = _decompressed(path, skipped, on_bytes)
    first = next(stream, b"")
    for mark, encoding in _UTF16.items():
        if first.startswith(mark) and not first.startswith(codecs.BOM_UTF32_LE):
            decoder = codecs.getincrementaldecoder(encoding)("replace")
            yield decoder.decode(first[len(mark) :]).encode()
            for chunk in stream:
                yield decoder.decode(chunk).encode()
            if decoder.getstate()[0]:
                note_skip(skipped, "half-written file", str(path))
            return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from stream


def _decompressed(path: Path, skipped: Counter[str], on_bytes: OnBytes) -> Iterator[bytes]:
    _, compression = kind(path)
    raw = _raw(path, _STEP.get(compression, _CHUNK), on_bytes)
    if not compression:
        yield from raw
        return
    whole = False
    gathered = bytearray()
    started = False
    try:
        for piece, whole in _inflate(raw, compression):  # noqa: B007 (the last value is read below)
            started = True
            gathered += piece
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
    except (zlib.error, _zstd_error()):
        whole = False
    if not started:
        raise FileError(path, f"not a {compression} file, or one broken from its start", "make it again")
    if gathered:
        yield bytes(gathered)
    if not whole:
        note_skip(skipped, "half-written file", str(path))


def _raw(path: Path, step: int, on_bytes: OnBytes) -> Iterator[bytes]:
    with open_file(path) as file:
        while True:
            try:
                data = file.read(step)
            except OSError as error:
                raise unreadable(path, error) from None
            if not data:
                return
            on_bytes(len(data))
            yield data


def _inflate(raw: Iterator[bytes], compression: str) -> Iterator[tuple[bytes, bool]]:
    """Pieces of the decompressed content, each with whether a frame just ended there."""
    decompressor: Any = None
    for data in raw:
        while data:
            if decompressor is None:
                # Tapes and some archivers pad with zeros.
                data = data.lstrip(b"\0")
                decompressor = _decompressor(compression) if data else None
                continue
            piece = decompressor.decompress(data)
            yield piece, decompressor.eof
            data = decompressor.unused_data if decompressor.eof else b""
            if decompressor.eof:
                decompressor = None


def _decompressor(compression: str) -> Any:
    if compression == ".gz":
        return zlib.decompressobj(wbits=31)
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError
