"""Pairs and pieces of texts: halves of each kind, strangers from elsewhere, pure functions of (seed, epoch, index)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatwright.data.packing import IGNORE, PADDING
from chatwright.data.pretraining.framed import Framed
from chatwright.data.pretraining.pairs import PairRows
from chatwright.data.pretraining.sentences import Sentences
from chatwright.data.pretraining.shuffled import ShuffledRows
from chatwright.data.store import TokenStore
from chatwright.errors import UserError
from helpers.framed import BEGIN, CLS, SEP, STOP, WORDS, numbered_documents, store_of

CONTEXT = 32


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """40 documents of one to nine sentences; every document has a word of its own."""
    return store_of(tmp_path / "store", numbered_documents([1 + n % 9 for n in range(40)]))


def pair_rows(store: TokenStore, kind: str, seed: int = 0) -> PairRows:
    return PairRows(Sentences.of(store, WORDS), CONTEXT, WORDS, seed, kind)  # type: ignore[arg-type]


def many(store: TokenStore, kind: str, count: int = 400) -> list[Framed]:
    rows = pair_rows(store, kind)
    size = rows.rows_in_epoch(0)
    return [rows.row(n // size, n % size) for n in range(count)]


def texts(row: Framed) -> list[list[int]]:
    """What stands between the control tokens of a row."""
    ids = row.inputs[row.segments != PADDING].tolist()
    assert ids[0] == CLS
    assert ids[-1] == SEP
    split, found = [n for n, token in enumerate(ids) if token == SEP], []
    for begin, end in zip([1, *(n + 1 for n in split)], split, strict=False):
        found.append(ids[begin:end])
    return found


def words(ids: list[int]) -> set[int]:
    return set(ids) - {STOP}


def test_pairs_are_framed_with_their_types(store: TokenStore) -> None:
    for row in many(store, "next", 50):
        first, second = texts(row)
        assert first
        assert second
        assert BEGIN not in row.inputs
        wanted = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        assert row.types is not None
        assert row.types[row.segments != PADDING].tolist() == wanted
        assert len(row.inputs) == CONTEXT


def test_half_of_the_second_texts_are_strangers_and_none_is_of_the_same_document(store: TokenStore) -> None:
    rows = many(store, "next")
    labels = [int(row.labels["next_sentence"]) for row in rows]
    # five standard errors of 400 coins
    assert abs(np.mean(labels) - 0.5) < 5 * 0.5 / 20
    for row, label in zip(rows, labels, strict=True):
        first, second = map(words, texts(row))
        assert len(first) == len(second) == 1
        assert (first != second) == bool(label)


def test_strangers_where_one_document_only_has_two_sentences(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", numbered_documents([1] * 10 + [5] + [1] * 10))
    rows = many(store, "next", 80)
    assert all((words(texts(row)[1]) == {16}) != bool(row.labels["next_sentence"]) for row in rows)


def test_half_of_the_neighbours_are_swapped(tmp_path: Path) -> None:
    # the words of a document count up
    documents = [
        [BEGIN, *(token for n in range(12) for token in (6 + 4 * n, 7 + 4 * n, STOP))] for _ in range(3)
    ]
    rows = many(store_of(tmp_path / "store", documents), "order")
    labels = [int(row.labels["sentence_order"]) for row in rows]
    assert abs(np.mean(labels) - 0.5) < 5 * 0.5 / 20
    for row, label in zip(rows, labels, strict=True):
        first, second = map(words, texts(row))
        assert (max(second) < min(first)) if label else (max(first) < min(second))


@pytest.mark.parametrize("kind", ["next", "order"])
def test_a_row_depends_on_seed_epoch_and_index_only(store: TokenStore, kind: str) -> None:
    there, back = pair_rows(store, kind), pair_rows(store, kind)
    count = there.rows_in_epoch(0)
    asked = [(0, n) for n in range(count)] + [(1, n) for n in range(count)]
    found = {place: there.row(*place).inputs.tolist() for place in asked}
    assert {place: back.row(*place).inputs.tolist() for place in reversed(asked)} == found
    assert [found[0, n] for n in range(count)] != [found[1, n] for n in range(count)]
    other = pair_rows(store, kind, seed=1)
    assert [other.row(0, n).inputs.tolist() for n in range(count)] != [found[0, n] for n in range(count)]


def test_an_epoch_goes_through_all_documents_that_have_two_sentences(store: TokenStore) -> None:
    rows = pair_rows(store, "order")
    seen: set[int] = set()
    for epoch in range(30):
        seen |= {
            w
            for n in range(rows.rows_in_epoch(epoch))
            for text in texts(rows.row(epoch, n))
            for w in words(text)
        }
    assert seen == {6 + n for n in range(40) if n % 9}


def test_a_long_sentence_is_cut_next_to_its_neighbour(tmp_path: Path) -> None:
    store = store_of(
        tmp_path / "store", [[BEGIN, *[6] * 90, STOP, *[7] * 90, STOP], [BEGIN, *[8] * 9, STOP, 8]]
    )
    for row in many(store, "next", 60):
        first, _ = texts(row)
        assert len(first) >= 1
        if 6 in first:
            assert first[-1] == STOP


def test_documents_of_one_sentence_are_halved_where_there_are_no_others(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [[BEGIN, *range(6, 20)], [BEGIN, *range(30, 50)]])
    for row in many(store, "next", 40):
        first, second = texts(row)
        assert (first[-1] + 1 == second[0]) == (int(row.labels["next_sentence"]) == 0)


def test_one_document_has_no_strangers(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", numbered_documents([9]))
    with pytest.raises(UserError, match="needs at least two documents"):
        pair_rows(store, "next")
    assert many(store, "order", 3)


def test_strangers_of_one_document_come_from_elsewhere_where_that_is_given(tmp_path: Path) -> None:
    alone, others = (
        store_of(tmp_path / name, numbered_documents(n)) for name, n in (("a", [9]), ("b", [1, 2, 30]))
    )
    found, there = Sentences.of(alone, WORDS), Sentences.of(others, WORDS)
    rows = PairRows(found, CONTEXT, WORDS, 0, "next", there)
    for epoch in range(40):
        row = rows.row(epoch, 0)
        assert words(texts(row)[1]) <= ({7, 8} if int(row.labels["next_sentence"]) else {6})


def test_one_word_has_no_neighbours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has two sentences, or two words"):
        pair_rows(store_of(tmp_path / "store", [[BEGIN, 6]]), "order")


def test_strangers_come_from_all_other_text_evenly(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", numbered_documents([2, 20, 60], length=3))
    strangers = [
        int(words(texts(row)[1]).pop()) - 6
        for row in many(store, "next", 600)
        if int(row.labels["next_sentence"]) and words(texts(row)[0]) == {8}
    ]
    share = np.mean([n == 1 for n in strangers])
    # of what is not document 2, ten parts in eleven are document 1
    assert share == pytest.approx(20 / 22, abs=5 * (20 / 22 * 2 / 22 / len(strangers)) ** 0.5)


def test_pieces_are_shuffled_and_labelled_by_their_places(tmp_path: Path) -> None:
    documents = [
        [BEGIN, *(token for n in range(12) for token in (6 + 4 * n, 7 + 4 * n, STOP))] for _ in range(3)
    ]
    store = store_of(tmp_path / "store", documents)
    rows = ShuffledRows(Sentences.of(store, WORDS), CONTEXT, WORDS, pieces=4)
    orders = []
    for n in range(24):
        row = rows.row(n // rows.rows_in_epoch(0), n % rows.rows_in_epoch(0))
        labels, pieces = row.labels["position"], texts(row)
        assert (row.inputs[labels != IGNORE] == SEP).all()
        order = labels[labels != IGNORE].tolist()
        assert sorted(order) == [0, 1, 2, 3]
        flat = [token for place in np.argsort(order) for token in pieces[place] if token != STOP]
        assert flat == sorted(flat)
        assert row.types is not None
        assert not row.types.any()
        orders.append(tuple(order))
    assert len(set(orders)) > 8


def test_pieces_of_long_sentences_and_short_documents(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [[BEGIN, *[6] * 90, STOP, *[7] * 90, STOP], [BEGIN, 8, STOP, 9]])
    rows = ShuffledRows(Sentences.of(store, WORDS), CONTEXT, WORDS, pieces=4)
    for n in range(rows.rows_in_epoch(0)):
        order = rows.row(0, n).labels["position"]
        assert sorted(order[order != IGNORE].tolist()) == [0, 1]
