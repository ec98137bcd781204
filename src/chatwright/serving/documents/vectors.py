"""Search by meaning: vectors of passages in an index of neighbours (voyager: HNSW, Malkov & Yashunin 2018).

Shape suffixes: N passages, W width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from chatwright.errors import UserError
from chatwright.generation.embedding import Embedder
from chatwright.progress import Bar
from chatwright.serving.documents.passages import Passage

_WINDOW = 1024
_CONNECTIONS, _EFFORT, _LEAST_EFFORT = 16, 200, 100


def write_vectors(path: Path, passages: Iterable[Passage], embedder: Embedder, shown: Bar) -> None:
    """Write the index of the passages' vectors, under their ids, into a new file; the same for the same passages."""
    from voyager import Index, Space

    index = Index(Space.Cosine, embedder.model.options.width, M=_CONNECTIONS, ef_construction=_EFFORT)
    left = iter(passages)
    while window := list(islice(left, _WINDOW)):
        vectors_NW = embedder.embed([f"{one.title}\n{one.text}" for one in window])
        # several threads would put them in another order each time
        index.add_items(vectors_NW, [one.id for one in window], num_threads=1)
        shown.update(len(index))
    index.save(str(path))


class Vectors:
    """The index that `write_vectors` wrote, with the model that made it. Safe among threads."""

    def __init__(self, path: Path, embedder: Embedder) -> None:
        from voyager import Index

        self._index: Any = Index.load(str(path))
        self._embedder, self._lock = embedder, threading.Lock()
        if self._index.num_dimensions != embedder.model.options.width:
            raise UserError(f"{path} was made by another model; delete its folder, and it is made again")

    def search(self, text: str, count: int) -> list[int]:
        """The ids of the passages whose vectors are nearest to the text's, the nearest first."""
        from voyager import RecallError

        if not text.strip():
            return []
        with self._lock:
            (vector_W,) = self._embedder.embed([text])
        count = min(count, len(self._index))
        while count:
            try:
                ids, _ = self._index.query(vector_W, k=count, query_ef=max(_LEAST_EFFORT, 2 * count))
            except RecallError:
                # of many passages that say the same the graph does not reach all
                count //= 2
                continue
            return [int(id) for id in ids]
        return []
