"""Readers that hostile files can hold up or blow up, in a child process with limits of time and memory.

The child (`child.py`) reads one file after another and is started when first needed. A file for which it takes too
long or too much ends the child, not the run: the file is refused with that reason, and the next one gets a new child.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import orjson

from chatwright.config import option
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import WARC, FileError, kind
from chatwright.corpora.reading.skipped import note_file, note_skip
from chatwright.errors import UserError

_HEAD = 5
_PIECE = 1 << 20
# The clock that counts is the processor's; a busy machine may take this many times as long, and so many seconds more.
_PATIENCE, _GRACE = 5, 10
_MOST_FAILURES = 20
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from chatwright.corpora.reading.child import serve; serve(int(sys.argv[2]), float(sys.argv[3]))"
)


@dataclass(frozen=True)
class Limits:
    """What reading one file may take. Text and JSON are read in bounded memory and need no limit."""

    seconds: float = option(60.0, "processor time that a page, a PDF or a record may take, in seconds")
    megabytes: int = option(1024, "memory that an HTML, PDF, WARC or Parquet file may take, in MB")


class _EndedError(Exception):
    """The child ended in the middle of a file; says why, and which limit would have to be raised.

    `certain` tells what would happen again from what the files that were read before may have caused.
    """

    def __init__(self, reason: str, limits: str, certain: bool = False) -> None:
        super().__init__(reason)
        self.certain = certain
        self.mend = f"leave it out, or raise {limits} if you trust it"


@dataclass
class _Progress:
    """How far a file was read: units of work begun, and documents that the last of them gave."""

    units: int = 0
    given: int = 0
    repeated: int = 0

    def again(self) -> None:
        """The last unit is to be read again; what it gave before is then left out."""
        self.repeated = self.units
        self.units = max(self.units - 1, 0)


class Child:
    """Reads files within limits. Close it when done; it may be used for any number of files."""

    def __init__(self, limits: Limits) -> None:
        if limits.seconds <= 0 or limits.megabytes < 16:
            raise UserError(
                f"limits.seconds={limits.seconds} and limits.megabytes={limits.megabytes}: give at least 0.1 and 16"
            )
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0
        self._buffer = bytearray()

    def documents(self, file: File) -> Iterator[tuple[str, str]]:
        """`(id, text)` of a file, as its reader gives them. Raises `FileError` where the limits do not suffice.

        Of an archive only the record is left out that goes beyond them. What crashed or took too much memory in a
        child that had read other files is tried in a fresh one, so that the outcome does not depend on them.
        """
        progress = _Progress()
        failures = 0
        while True:
            fresh = not self._served
            try:
                yield from self._attempt(file, progress)
                return
            except _EndedError as error:
                self.close()
                if not fresh and not error.certain:
                    progress.again()
                    continue
                failures += 1
                if kind(file.path)[0] != WARC or failures > _MOST_FAILURES or not progress.units:
                    raise FileError(file.path, str(error), error.mend) from None
                note_file(file.skipped, f"record {error}", str(file.path), f"record {progress.units}")
                progress.given = 0

    def _attempt(self, file: File, progress: _Progress) -> Iterator[tuple[str, str]]:
        self._ask(file, progress.units)
        known = progress.given
        while message := self._answer():
            mark, content = message
            if mark == b"U":
                progress.units += 1
                progress.given = 0
            elif mark == b"D":
                documents = orjson.loads(content)
                repeated = max(0, known - progress.given) if progress.units == progress.repeated else 0
                progress.given += len(documents)
                yield from map(tuple, documents[repeated:])
            elif mark == b"M":
                raise _EndedError(f"takes more than {self._limits.megabytes} MB", "limits.megabytes")
            else:
                self._note(file, mark, content)

    def close(self) -> None:
        """End the child, if there is one."""
        process, self._process = self._process, None
        self._served = 0
        self._buffer.clear()
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            process.wait()

    def _ask(self, file: File, start: int) -> None:
        request = {
            "path": os.fsdecode(file.path),
            "name": file.name,
            "text_field": file.text_field,
            "start": start,
        }
        line = json.dumps(request).encode() + b"\n"
        try:
            self._pipe_in().write(line)
        except BrokenPipeError:
            self.close()
            self._pipe_in().write(line)
        self._served += 1

    def _pipe_in(self) -> IO[bytes]:
        if self._process is None:
            arguments = [json.dumps(sys.path), str(self._limits.megabytes << 20), str(self._limits.seconds)]
            # More arenas and pools reserve address space, which is what is limited.
            environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
            )
        assert self._process.stdin is not None
        return self._process.stdin

    def _note(self, file: File, mark: bytes, content: bytes) -> None:
        if mark == b"B":
            file.on_bytes(int(content))
            return
        values = orjson.loads(content)
        if mark == b"E":
            raise FileError(file.path, *values)
        if mark == b"F":
            note_file(file.skipped, *values)
        else:
            note_skip(file.skipped, *values)

    def _answer(self) -> tuple[bytes, bytes] | None:
        """The next message, None when the file is done. Raises `_EndedError` where the child is no more, or hangs."""
        head = self._take(_HEAD)
        mark, size = head[:1], int.from_bytes(head[1:], "little")
        content = self._take(size)
        return None if mark == b"." else (mark, content)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._buffer += self._received()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _received(self) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        patience = _PATIENCE * self._limits.seconds + _GRACE
        if not waiting.poll(1000 * patience):
            raise _EndedError(f"hangs for {patience:g} s", "limits.seconds")
        data = os.read(process.stdout.fileno(), _PIECE)
        if not data:
            raise self._why(process.wait())
        return data

    def _why(self, code: int) -> _EndedError:
        if code == -signal.SIGPROF:
            return _EndedError(f"takes longer than {self._limits.seconds:g} s", "limits.seconds", True)
        if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
            reason = f"crashes its parser, or takes more than {self._limits.megabytes} MB"
            return _EndedError(reason, "limits.megabytes")
        return _EndedError(f"ends its parser (exit code {code})", "limits.seconds and limits.megabytes")
