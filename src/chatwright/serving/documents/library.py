"""The passages of a corpus, found by words and by meaning together."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chatwright.config import option
from chatwright.corpora.documents import Doc
from chatwright.corpora.split import SIDES, Side
from chatwright.corpora.store import count, shards, stored
from chatwright.errors import UserError
from chatwright.files import publishing, writing
from chatwright.generation.embedding import Embedder
from chatwright.models.interop.files import WEIGHTS
from chatwright.progress import Bar, bar
from chatwright.rewards.judges import digest
from chatwright.runs import Run, hash_files
from chatwright.serving.documents.passages import Passage, cut
from chatwright.serving.documents.vectors import Vectors, write_vectors
from chatwright.serving.documents.words import Words, write_words

# Where `corpus` keeps its text, and what an index depends on besides its inputs.
_TEXT, _VERSION = "text", 1
_WORDS, _VECTORS = "passages.sqlite", "vectors.voy"
# Cormack, Clarke & Büttcher 2009: found best for lists of any origin.
_FUSION = 60
_DEPTH = 50
_LONGEST_QUESTION = 4000


@dataclass(frozen=True)
class DocumentOptions:
    """Answers from one's own documents."""

    documents: str | None = option(None, "a run of `corpus` that answers are looked up in and cite")
    embedder: str | None = option(
        None, "a run that embeds, to find passages by meaning too; none: by words alone"
    )
    passages: int = option(4, "passages that are put before a question")
    passage_size: int = option(
        900, "bytes of a passage, whole sentences: 900 are about 150 English words or 300 Chinese characters"
    )

    def __post_init__(self) -> None:
        if not 1 <= self.passages <= 50:
            raise UserError(f"passages={self.passages} must be from 1 to 50")
        if not 100 <= self.passage_size <= 100_000:
            raise UserError(f"passage_size={self.passage_size} must be from 100 to 100000")
        if self.embedder is not None and self.documents is None:
            raise UserError("embedder= finds passages of documents=; give both")


class Library:
    """Passages by id and by search. Safe among threads."""

    def __init__(self, words: Words, vectors: Vectors | None = None) -> None:
        self._words, self._vectors = words, vectors

    def __len__(self) -> int:
        return len(self._words)

    @classmethod
    def open(cls, corpus: str | Path | Run, size: int, embedder: str | Path | Run | None = None) -> Self:
        """The library of a finished run of `corpus`; its index is made once and kept in the run's folder.

        Raises UserError for what is no corpus, and for a run that embeds no text.
        """
        run = Run.open(corpus, ["corpus"])
        model = None if embedder is None else Embedder.load(embedder)
        maker = [] if embedder is None else [_content(embedder), model.pooling if model else ""]
        place = run.directory / f"passages-{digest([run.info['content'], size, maker, _VERSION])[:12]}"
        with _locked(place):
            if not place.is_dir():
                with publishing(place) as aside:
                    _build(run, aside, size, model)
        vectors = None if model is None else Vectors(place / _VECTORS, model)
        return cls(Words(place / _WORDS), vectors)

    def search(self, question: str, wanted: int) -> list[Passage]:
        """The passages that fit a question, the best first."""
        question = question[:_LONGEST_QUESTION]
        lists = [self._words.search(question, _DEPTH)]
        if self._vectors is not None:
            lists.append(self._vectors.search(question, _DEPTH))
        ids = fused(lists)[:wanted]
        found = self._words.passages(ids)
        return [found[id] for id in ids if id in found]

    def passage(self, id: int) -> Passage | None:
        return self._words.passages([id]).get(id)

    def around(self, id: int) -> tuple[Passage | None, Passage | None]:
        """The passages before and after one, where they are of the same document."""
        near = self._words.passages([id - 1, id, id + 1])
        here = near.get(id)
        before, after = (
            one if one is not None and here is not None and one.source == here.source else None
            for one in (near.get(id - 1), near.get(id + 1))
        )
        return before, after


def fused(lists: Sequence[Sequence[int]]) -> list[int]:
    """One list from several, each with the best first: by the sum of 1 / (60 + rank), ranks from 1 (reciprocal rank
    fusion, Cormack, Clarke & Büttcher 2009). Equals keep the order of their first list."""
    points: dict[int, float] = {}
    for ranked in lists:
        for rank, id in enumerate(ranked, 1):
            points[id] = points.get(id, 0.0) + 1 / (_FUSION + rank)
    return sorted(points, key=lambda id: -points[id])


def _build(run: Run, directory: Path, size: int, model: Embedder | None) -> None:
    text = run.directory / _TEXT
    sides: list[Side] = [side for side in SIDES if shards(text, side)]
    with bar("cutting documents into passages", sum(count(text, side) for side in sides)) as shown:
        documents = _shown((doc for side in sides for doc in stored(text, side)), shown)
        made = write_words(directory / _WORDS, _passages(documents, size))
    if not made:
        raise UserError(f"{run.directory} holds no text to look anything up in")
    if model is not None:
        with bar("embedding passages", made) as shown:
            write_vectors(directory / _VECTORS, Words(directory / _WORDS).all(), model, shown)


def _shown(documents: Iterable[Doc], shown: Bar) -> Iterator[Doc]:
    for number, doc in enumerate(documents, 1):
        yield doc
        shown.update(number)


def _passages(documents: Iterable[Doc], size: int) -> Iterator[Passage]:
    number = 0
    for doc in documents:
        for title, text in cut(doc, size):
            number += 1
            yield Passage(number, title, doc.id, text)


def _content(embedder: str | Path | Run) -> str:
    """Stands for a model and its tokenizer."""
    directory = embedder.directory if isinstance(embedder, Run) else Path(embedder)
    return hash_files([directory / WEIGHTS, directory / "tokenizer.json"])


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Two servers that make the same index take turns; the second finds it made."""
    with writing(place), (place.parent / f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
