"""Bytes out of files: plain, gzip or Zstandard, marked UTF-16 turned into UTF-8, in chunks of bounded size."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from chatwright.corpora.documents import encodable, path_text
from chatwright.corpora.reading.skipped import note_file
from chatwright.errors import UserError

TEXT_TYPES = (".txt", ".text", ".md", ".markdown", ".rst")
ROW_TYPES = (".jsonl", ".ndjson", ".json")
TABLE_TYPES = (".csv", ".tsv")
HTML_TYPES = (".html", ".htm", ".xhtml")
COMPRESSIONS = (".gz", ".zst")
PARQUET = ".parquet"
PDF = ".pdf"
WARC = ".warc"

_CHUNK = 1 << 20
# Text shrinks to a tenth, tables of equal lines to a hundredth; beyond these two numbers a file is a trap.
_BOMB_RATIO = 250
_BOMB_BYTES = 64 << 20
# A Zstandard block of 4 bytes can hold 128 kB, and its decompressor takes no limit: small steps bound memory.
_STEP = {".gz": 1 << 16, ".zst": 1 << 11}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"\x84\x31\x95\x33": "gb18030",
}

OnBytes = Callable[[int], None]


class FileError(UserError):
    """A file that gives nothing. Fatal for a file that the user named; counted under `reason` in a folder."""

    def __init__(self, path: Path, reason: str, mend: str) -> None:
        super().__init__(f"{path_text(path)}: {encodable(f'{reason}; {mend}')}")
        self.path = path
        self.reason = reason
        self.mend = mend

    def __reduce__(self) -> tuple[type[FileError], tuple[Path, str, str]]:
        return type(self), (self.path, self.reason, self.mend)


def ignore(count: int) -> None:
    """The progress callback of those who do not watch."""


def kind(path: Path) -> tuple[str, str]:
    """`(type, compression)` of a file by its name, as `(".jsonl", ".gz")`; compression may be empty."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[0] if len(suffixes) == 2 else "", suffixes[-1])
    return (suffixes[-1] if suffixes else "", "")


def is_known(path: Path) -> bool:
    """Whether files of this name can be read."""
    type_, compression = kind(path)
    if type_ in (PARQUET, PDF):
        return not compression
    return type_ in (*TEXT_TYPES, *ROW_TYPES, *TABLE_TYPES, *HTML_TYPES, WARC)


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
    """Open for reading; what is missing, forbidden, empty or no regular file is a `FileError`."""
    # A pipe without a writer would hold up an ordinary open for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        handle = os.open(path, flags)
    except OSError as error:
        raise unreadable(path, error) from None
    facts = os.fstat(handle)
    if stat.S_ISREG(facts.st_mode) and facts.st_size:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(facts.st_mode):
        raise unreadable(path, IsADirectoryError(errno.EISDIR, ""))
    if stat.S_ISREG(facts.st_mode):
        raise FileError(path, "empty file", "leave it out or give one with text in it")
    raise FileError(path, "not a regular file", "give a file, not a pipe or a device")


def chunks(path: Path, skipped: Counter[str], on_bytes: OnBytes = ignore) -> Iterator[bytes]:
    """The content in chunks of about 1 MB, decompressed, without byte order mark; what has one becomes UTF-8.

    A compressed file that ends early gives what could be read and is counted as `half-written file`; one that
    unpacks to more than 64 MB and 250 times its size is a `FileError` when it has.
    `on_bytes` is told how many bytes of the file itself were read.
    """
    stream = _decompressed(path, skipped, on_bytes)
    first = next(stream, b"")
    encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)
    if encoding is None:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from stream
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first).removeprefix("\ufeff").encode()
    for chunk in stream:
        yield decoder.decode(chunk).encode()
    if decoder.getstate()[0]:
        note_file(skipped, "half-written file", str(path))


def _decompressed(path: Path, skipped: Counter[str], on_bytes: OnBytes) -> Iterator[bytes]:
    _, compression = kind(path)
    taken = 0

    def take(count: int) -> None:
        nonlocal taken
        taken += count
        on_bytes(count)

    raw = _raw(path, _STEP.get(compression, _CHUNK), take)
    if not compression:
        yield from raw
        return
    whole, size = False, 0
    gathered = bytearray()
    try:
        for piece, whole in _inflate(raw, compression):  # noqa: B007 (the last value is read below)
            size += len(piece)
            if size > max(_BOMB_BYTES, _BOMB_RATIO * taken):
                raise _bomb(path)
            gathered += piece
            if len(gathered) >= _CHUNK:
                yield bytes(gathered)
                gathered.clear()
    except (zlib.error, _zstd_error()):
        whole = False
    if not size and not whole:
        raise FileError(path, f"not a {compression} file, or one broken from its start", "make it again")
    if gathered:
        yield bytes(gathered)
    if not whole:
        note_file(skipped, "half-written file", str(path))


def _bomb(path: Path) -> FileError:
    mend = f"it unpacks to more than {_BOMB_RATIO} times its size; unpack it yourself if you trust it"
    return FileError(path, "decompression bomb", mend)


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
