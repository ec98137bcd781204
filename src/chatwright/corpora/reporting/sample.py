"""An even sample of a stored corpus: the same documents whenever the same corpus is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.documents import Doc
from chatwright.corpora.split import SIDES
from chatwright.corpora.store import shards

SAMPLE_BYTES = 8_000_000
LONGEST = 100_000
"""Of a longer document a sample holds so many characters, from its beginning."""

_MOST_GROUPS = 64


@dataclass(frozen=True)
class CorpusSample:
    """Documents, evenly taken from a corpus, and how long all the documents are among which they were found.

    `languages` and `lengths` (characters) have one entry for each document seen: all of a corpus of less than about
    250 million characters, else those of row groups that lie evenly in it. `every` is 7 where every seventh
    document seen was taken; `total` counts the stored documents.
    """

    docs: list[Doc]
    every: int
    total: int
    languages: list[str]
    lengths: npt.NDArray[np.int64]


def sample_of(directory: str | Path, most_bytes: int = SAMPLE_BYTES) -> CorpusSample:
    """A sample of the corpus in `directory`, of about `most_bytes` of UTF-8 at most (and at least one document)."""
    groups = _groups([path for side in SIDES for path in shards(directory, side)])
    total = sum(rows for _, _, rows in groups)
    chosen = [groups[place] for place in spread(len(groups), _MOST_GROUPS)]
    languages: list[str] = []
    lengths, sizes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for table in map(_read, chosen):
        named, characters, size = _measured(table)
        languages += named
        lengths.append(characters)
        sizes.append(size)
    seen = np.concatenate(lengths)
    held = np.concatenate(sizes) * np.minimum(1.0, LONGEST / np.maximum(seen, 1))
    every = max(1, -int(-held.sum() // most_bytes))
    docs: list[Doc] = []
    start = 0
    for group in chosen:
        places = range(-start % every, group[2], every)
        start += group[2]
        if places:
            docs += _docs(_read(group), places)
    return CorpusSample(docs, every, total, languages, seen)


def spread(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly apart."""
    return [count * number // most for number in range(most)] if count > most else list(range(count))


def _groups(paths: Sequence[Path]) -> list[tuple[Path, int, int]]:
    """Path, number and rows of every row group."""
    import pyarrow.parquet as pq

    found = []
    for path in paths:
        metadata = pq.ParquetFile(path).metadata
        found += [(path, n, metadata.row_group(n).num_rows) for n in range(metadata.num_row_groups)]
    return found


def _read(group: tuple[Path, int, int]) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(group[0], pre_buffer=False).read_row_group(group[1], use_threads=False)


def _measured(table: Any) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Languages, characters and bytes of a table's documents."""
    import pyarrow.compute as pc

    text = table["text"]
    characters, sizes = (
        np.asarray(measure(text), np.int64) for measure in (pc.utf8_length, pc.binary_length)
    )
    return table["language"].to_pylist(), characters, sizes


def _docs(table: Any, places: Sequence[int]) -> Iterator[Doc]:
    names = ("id", "source", "text", "language", "marks")
    columns = table.take(list(places)).to_pydict()
    for id_, source, text, language, marks in zip(*(columns[name] for name in names), strict=True):
        yield Doc(id_, source, text[:LONGEST], language or "", tuple(marks or ()))
