"""The other end of `limits.py`: a process that reads the files that it is told, and may be killed at any time.

A request is a line of JSON. An answer is a series of messages, each a letter, a length of four bytes and a content:
D documents, U a unit of work begins, B bytes were read, S and F something was left out. The last one says how it ended:
E the file is refused, M the memory did not suffice, or `.` for well.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from chatwright.corpora.documents import encodable, path_text
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import HTML_TYPES, PARQUET, PDF, WARC, FileError, kind
from chatwright.corpora.reading.skipped import Skipped

_FULL = 1 << 18
READERS = {
    **dict.fromkeys(HTML_TYPES, "html"),
    PARQUET: "parquet",
    PDF: "pdf",
    WARC: "warc",
}
"""Types of files that are read in a child, each with its module."""

# Imported before the limit of memory is set: what a library takes by itself is not the file's.
_LIBRARIES = {
    "html": ("resiliparse.extract.html2text", "selectolax.lexbor"),
    "parquet": ("pyarrow.parquet",),
    "pdf": ("pypdf",),
    "warc": ("fastwarc.warc", "resiliparse.extract.html2text", "selectolax.lexbor", "pypdf"),
}


class _Answers:
    """Writes messages, several at a time; `flush` before anything that may end this process."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._messages = bytearray()
        self._documents: list[tuple[str, str]] = []
        self._size = 0

    def send(self, mark: bytes, content: bytes = b"") -> None:
        self._gather()
        self._messages += mark + len(content).to_bytes(4, "little") + content

    def document(self, id_: str, text: str) -> None:
        self._documents.append((encodable(id_), encodable(text)))
        self._size += len(text)
        if self._size > _FULL:
            self.flush()

    def flush(self) -> None:
        self._gather()
        view = memoryview(bytes(self._messages))
        self._messages.clear()
        while view:
            view = view[os.write(self._out, view) :]

    def _gather(self) -> None:
        if self._documents:
            content = orjson.dumps(self._documents)
            self._documents, self._size = [], 0
            self.send(b"D", content)


class _Told(Skipped):
    """Passes on what is left out."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__()
        self._answers = answers

    def add(self, reason: str, place: str) -> None:
        self._answers.send(b"S", _encoded(reason, path_text(place)))

    def add_file(self, reason: str, path: str, detail: str = "") -> None:
        self._answers.send(b"F", _encoded(reason, path_text(path), detail))


def serve(memory: int, seconds: float) -> None:
    """Answer requests from standard input until it ends. `memory` is in bytes, `seconds` of the processor's time."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not come between the answers.
    out = os.dup(1)
    os.dup2(2, 1)
    answers = _Answers(out)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        module = _reader(kind(Path(request["path"]))[0], memory)
        _read(module, request, answers, seconds)


_base = 0


def _reader(type_: str, memory: int) -> ModuleType:
    """The module that reads a type. The limit of memory grows by what importing it took, not by what files took."""
    global _base
    name = f"chatwright.corpora.reading.{READERS[type_]}"
    if name not in sys.modules or not _base:
        _limit(resource.RLIM_INFINITY)
        before = _address_space() if _base else 0
        for library in (*_LIBRARIES[READERS[type_]], name):
            importlib.import_module(library)
        _base += _address_space() - before
        _limit(_base + memory if _base > 0 else resource.RLIM_INFINITY)
    return sys.modules[name]


def _limit(size: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _address_space() -> int:
    """The size of this process in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


def _read(module: ModuleType, request: dict[str, Any], answers: _Answers, seconds: float) -> None:
    def begin() -> None:
        answers.send(b"U")
        answers.flush()
        signal.setitimer(signal.ITIMER_PROF, seconds)

    file = File(
        path=Path(request["path"]),
        name=request["name"],
        skipped=_Told(answers),
        text_field=request["text_field"],
        on_bytes=lambda count: answers.send(b"B", str(count).encode()),
        begin=begin,
        start=request["start"],
    )
    end: tuple[bytes, bytes] = b".", b""
    try:
        documents: Iterator[tuple[str, str]] = module.documents(file)
        for id_, text in documents:
            answers.document(id_, text)
    except FileError as error:
        end = b"E", _encoded(error.reason, error.mend)
    except RecursionError:
        end = b"E", _encoded("nested too deeply", "leave it out")
    except MemoryError:
        end = b"M", b""
    signal.setitimer(signal.ITIMER_PROF, 0)
    answers.send(*end)
    answers.flush()


def _encoded(*words: str) -> bytes:
    return orjson.dumps([encodable(word) for word in words])
