"""Sentences of a token store: every token of text in exactly one, none across documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chatwright.data.pretraining.sentences import FILE, Sentences, find_begins
from helpers.framed import BEGIN, STOP, WORDS, facts_of, numbered_documents, store_of


def sentences(place: Path, *tokens: str) -> list[str]:
    """The sentences of one document of these tokens."""
    facts = facts_of(*tokens)
    found = Sentences.of(store_of(place / "store", [[BEGIN, *np.arange(5, 5 + len(tokens))]]), facts)
    return [
        b"".join(facts.texts[n] for n in found.ids(begin, end)).decode()
        for begin, end in zip(found.begins, found.ends, strict=True)
    ]


def test_full_stops_end_sentences_before_white_space_only(tmp_path: Path) -> None:
    assert sentences(tmp_path, "Pi", " is", " ", "3", ".", "14", ".", " Is", " it", "?!", ' "', "No", '."', " So", " be") == [
        "Pi is 3.14.", " Is it?!", ' "No."', " So be",
    ]  # fmt: skip


def test_line_breaks_and_chinese_marks_end_sentences(tmp_path: Path) -> None:
    assert sentences(tmp_path, "Title", "\n\n", "你好", "。", "”", "再见", "！", "\n", "好") == [
        "Title\n\n", "你好。”", "再见！\n", "好",
    ]  # fmt: skip


def test_every_token_of_text_is_in_one_sentence_of_its_document(tmp_path: Path) -> None:
    documents = [[BEGIN], *numbered_documents([1, 4, 2]), [6, STOP, 6]]
    store = store_of(tmp_path / "store", documents)
    found = Sentences.of(store, WORDS)
    covered = np.zeros(store.num_tokens, dtype=int)
    for sentence, (begin, end) in enumerate(zip(found.begins, found.ends, strict=True)):
        covered[begin:end] += 1
        low, high = store.bounds(found.document(sentence))
        assert low <= begin < end <= high
    assert (covered == (store.tokens != BEGIN)).all()
    assert found.counts.tolist() == [0, 1, 4, 2, 2]


def test_what_was_found_is_kept_beside_the_store(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", numbered_documents([3, 2]))
    found = Sentences.of(store, WORDS)
    assert (store.directory / FILE).stat().st_size == 8 * 5
    again = Sentences.of(store, facts_of("never asked"))
    assert again.begins.tolist() == found.begins.tolist() == find_begins(store, WORDS).tolist()


def test_halves_of_documents_without_two_sentences(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [[BEGIN, 6, 7, 8, 9], [BEGIN], [BEGIN, 6], [6, 7]])
    found = Sentences.of(store, WORDS).halved()
    spans = [
        (int(b) - int(store.offsets[found.document(n)]), int(e - b))
        for n, (b, e) in enumerate(zip(found.begins, found.ends, strict=True))
    ]
    assert found.counts.tolist() == [2, 0, 1, 2]
    assert spans == [(1, 2), (3, 2), (1, 1), (0, 1), (1, 1)]
