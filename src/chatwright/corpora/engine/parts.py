"""A part of the corpus on disk: its documents, what a step made of them, and arrays about them.

A step does not write the documents again: it writes, for each document that it leaves, which one of its input that
was and what is new about it. So a step that drops a tenth of the documents costs a few bytes each, and every step's
outcome can be kept for a run that changes only what comes after it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.documents import Doc, byte_count
from chatwright.errors import UserError
from chatwright.files import aside_of, writing

_TEXTS = ("id", "source", "text", "language")
# Level 1 packs text to two fifths at several hundred MB/s; these files are read once or twice.
_PACKED: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "write_statistics": False}
_PLAIN = "(one array)"
_NOTHING = (None,) * 5
_NO_ROWS: deque[int] = deque()
_EMPTY: dict[str, Any] = dict.fromkeys((*_TEXTS, "marks"), ())


@dataclass
class Part:
    """Documents, and how many bytes of UTF-8 the text of each is."""

    docs: list[Doc]
    sizes: list[int]

    @classmethod
    def of(cls, docs: list[Doc]) -> Part:
        return cls(docs, [byte_count(doc.text) for doc in docs])

    def followed_by(self, docs: list[Doc]) -> tuple[Part, npt.NDArray[np.int32]]:
        """The documents that a step made of these, and for each which one it was (-1: none of them).

        A step keeps the order, so of documents with one id each is the first that comes after the last one found.
        """
        same = {id(doc): row for row, doc in enumerate(self.docs)}
        rows: dict[str, deque[int]] = {}
        for row, doc in enumerate(self.docs):
            rows.setdefault(doc.id, deque()).append(row)
        origins, last = [], -1
        for doc in docs:
            left = rows.get(doc.id, _NO_ROWS)
            least = max(last + 1, same.get(id(doc), 0))
            while left and left[0] < least:
                left.popleft()
            origins.append(left.popleft() if left else -1)
            last = max(last, origins[-1])
        sizes = [
            self.sizes[row] if row >= 0 and doc.text is self.docs[row].text else byte_count(doc.text)
            for doc, row in zip(docs, origins, strict=True)
        ]
        return Part(docs, sizes), np.asarray(origins, np.int32)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to; what was written becomes `path` when the block ends well."""
    aside = aside_of(path)
    with writing(path):
        try:
            yield aside
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_part(path: Path, part: Part) -> None:
    """Write documents whole."""
    columns = {name: [getattr(doc, name) for doc in part.docs] for name in _TEXTS}
    _write(path, {**columns, "marks": [list(doc.marks) for doc in part.docs]})


def read_part(path: Path) -> Part:
    """The documents that `write_part` wrote."""
    columns, sizes = _read(path)
    values = zip(*(columns[name] for name in (*_TEXTS, "marks")), strict=True)
    return Part([Doc(i, s, text, lang, tuple(marks)) for i, s, text, lang, marks in values], sizes)


def write_step(path: Path, before: Part, after: Part, origins: npt.NDArray[np.int32]) -> bool:
    """Write what a step changed; where it changed nothing, write nothing and return False."""
    rows = origins.tolist()
    olds = [before.docs[row] if row >= 0 else None for row in rows]
    if len(olds) == len(before.docs) and all(doc is old for doc, old in zip(after.docs, olds, strict=True)):
        return False
    news = [_news(doc, old) for doc, old in zip(after.docs, olds, strict=True)]
    columns = dict(zip((*_TEXTS, "marks"), zip(*news, strict=True), strict=True)) if news else _EMPTY
    _write(path, {"origin": rows, **columns})
    return True


def _news(doc: Doc, old: Doc | None) -> tuple[Any, ...]:
    """What of a document is new, in the order of the columns."""
    if doc is old:
        return _NOTHING
    if old is None:
        return doc.id, doc.source, doc.text, doc.language, list(doc.marks)
    return (
        None,
        None if doc.source == old.source else doc.source,
        None if doc.text is old.text or doc.text == old.text else doc.text,
        None if doc.language == old.language else doc.language,
        None if doc.marks == old.marks else list(doc.marks),
    )


def read_step(path: Path, before: Part) -> Part:
    """What `write_step` wrote, on the same documents as then."""
    columns, fresh = _read(path)
    docs, sizes = [], []
    rows = zip(columns["origin"], *(columns[name] for name in (*_TEXTS, "marks")), fresh, strict=True)
    for origin, id_, source, text, language, marks, size in rows:
        if origin < 0:
            docs.append(Doc(id_, source, text, language, tuple(marks)))
            sizes.append(size)
            continue
        old = before.docs[origin]
        is_same = source is None and text is None and language is None and marks is None
        docs.append(old if is_same else _renewed(old, source, text, language, marks))
        sizes.append(before.sizes[origin] if text is None else size)
    return Part(docs, sizes)


def _renewed(
    old: Doc,
    source: str | None,
    text: str | None,
    language: str | None,
    marks: Sequence[str] | None,
) -> Doc:
    return Doc(
        old.id,
        old.source if source is None else source,
        old.text if text is None else text,
        old.language if language is None else language,
        old.marks if marks is None else tuple(marks),
    )


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"origin": pa.int32(), "marks": pa.list_(pa.string())}
    arrays = {name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()}
    with replacing(path) as aside:
        pq.write_table(pa.table(arrays), aside, use_dictionary=["source", "language"], **_PACKED)


def _read(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    """The columns as lists, and the bytes of each text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, use_threads=False, pre_buffer=False, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read ({said}); delete it and run the same command again") from None
    sizes = pc.binary_length(table["text"]).to_pylist()
    return {name: table[name].to_pylist() for name in table.column_names}, sizes


def write_arrays(path: Path, arrays: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> None:
    """Write one array or several named ones; none may hold objects."""
    named = arrays if isinstance(arrays, Mapping) else {_PLAIN: arrays}
    with replacing(path) as aside, aside.open("wb") as file:
        np.savez(file, **named)  # type: ignore[arg-type]


def read_arrays(path: Path) -> Any:
    """What `write_arrays` wrote: an array or a dictionary of arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            named = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read ({said}); delete it and run the same command again") from None
    return named[_PLAIN] if list(named) == [_PLAIN] else named


class StoredArrays(Sequence[Any]):
    """Arrays on disk, one file a part, read each time they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [read_arrays(path) for path in self._paths[index]]
        return read_arrays(self._paths[index])


def write_json(path: Path, value: Any) -> None:
    """Write a manifest: its presence says that what it tells of is done."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, ensure_ascii=True), encoding="utf-8")


def read_json(path: Path) -> Any:
    """A manifest; None where there is none, or a broken one (the machine went down)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def is_whole(path: Path, size: int | None) -> bool:
    """Whether a file is there with the size that its manifest tells; None tells that there is no file."""
    try:
        return size is None or path.stat().st_size == size
    except OSError:
        return False
