"""The library: made once from a corpus, by words and by meaning, fused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatwright.errors import UserError
from chatwright.generation.embedding import Embedder
from chatwright.runs import Run
from chatwright.serving.documents import library as module
from chatwright.serving.documents.library import DocumentOptions, Library, fused
from chatwright.serving.documents.passages import Passage
from chatwright.serving.documents.vectors import Vectors
from helpers.documented import DOCS, RIVER, library_of
from helpers.served import Places


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    assert fused([[1, 2, 3]]) == [1, 2, 3]
    assert fused([[1, 2, 3], [3, 2, 1]]) == [1, 3, 2], "1/61 + 1/63 is more than 2/62"
    assert fused([[1, 2], [3, 2]]) == [2, 1, 3]
    assert fused([[], []]) == []
    assert fused([[9] * 1, list(range(10, 40))])[0] == 9


def test_a_corpus_is_looked_up_by_words_alone(corpus: Run) -> None:
    library = Library.open(corpus, 900)
    assert len(library) == len(DOCS)
    [first, *_] = library.search("Where does the Nile flow?", 3)
    assert first.title == "The Nile" and first.source.endswith("rivers/nile.md") and first.text == RIVER
    assert library.passage(first.id) == first and library.passage(99) is None


def test_the_index_is_made_once(corpus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Library.open(corpus, 700)
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("made again"))
    assert len(Library.open(corpus, 700)) == len(DOCS)
    with pytest.raises(BaseException, match="made again"):
        Library.open(corpus, 701)


def test_a_build_that_fails_leaves_nothing(corpus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError("no power")

    before = sorted(path.name for path in corpus.directory.iterdir() if not path.name.startswith("."))
    monkeypatch.setattr(module, "write_words", fail)
    with pytest.raises(OSError, match="no power"):
        Library.open(corpus, 555)
    assert sorted(path.name for path in corpus.directory.iterdir() if not path.name.startswith(".")) == before


def test_an_embedding_run_finds_what_shares_no_word(corpus: Run, places: Places) -> None:
    library = Library.open(corpus, 900, places.vectors)
    again = Library.open(corpus, 900, places.vectors)
    by_words = Library.open(corpus, 900)
    for id in range(1, len(library) + 1):
        passage = library.passage(id)
        assert passage is not None
        # the very text is its own nearest neighbour for words and for vectors
        found = library.search(f"{passage.title}\n{passage.text}", 10)
        assert found[0] == passage and len(found) == len(library)
        assert again.search(f"{passage.title}\n{passage.text}", 10) == found
    assert by_words.search("zebra", 5) == [] and len(library.search("zebra", 2)) == 2


def test_vectors_are_nearest_first(corpus: Run, places: Places) -> None:
    library = Library.open(corpus, 900, places.vectors)
    embedder = Embedder.load(places.vectors)
    place = next(corpus.directory.glob("passages-*/vectors.voy"))
    vectors = Vectors(place, embedder)
    passages = [library.passage(id) for id in range(1, len(library) + 1)]
    texts = [f"{passage.title}\n{passage.text}" for passage in passages if isinstance(passage, Passage)]
    cosines = embedder.embed(texts) @ embedder.embed(["Nile"])[0]
    order = sorted(range(len(texts)), key=lambda place: -cosines[place])
    assert vectors.search("Nile", 10) == [place + 1 for place in order]
    assert vectors.search("Nile", 1) == [order[0] + 1] and vectors.search(" ", 3) == []


def test_neighbours_are_of_the_same_document(tmp_path: Path) -> None:
    library = library_of(tmp_path, "One is one. Two is two. Three is it.", "Four is four.", size=13)
    texts = [library.passage(id).text for id in range(1, 5)]  # type: ignore[union-attr]
    assert texts == ["One is one.", "Two is two.", "Three is it.", "Four is four."]
    around = [[one and one.id for one in library.around(id)] for id in (1, 2, 3, 4, 99)]
    assert around == [[None, 2], [1, 3], [2, None], [None, None], [None, None]]


def test_what_is_no_corpus_or_does_not_embed_is_refused(corpus: Run, places: Places, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run at"):
        Library.open(tmp_path, 900)
    with pytest.raises(UserError, match="embeds no text"):
        Library.open(corpus, 900, places.translator)
    copy = tmp_path / "vectors"
    shutil.copytree(places.vectors, copy)
    for options in ({"passages": 0}, {"passage_size": 99}, {"embedder": "x"}):
        with pytest.raises(UserError):
            DocumentOptions(**options)  # type: ignore[arg-type]
