"""Groups of sentences and of scored pairs, and framed stretches of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatwright.data.packing import PADDING, Packed, StreamRows
from chatwright.data.pretraining.framed import FramedRows
from chatwright.data.pretraining.framed_groups import SentenceGroups
from chatwright.data.pretraining.mixed import MixedRows
from chatwright.data.pretraining.scored_pairs import read_scored
from chatwright.data.pretraining.sentences import Sentences
from chatwright.errors import UserError
from helpers.framed import BEGIN, CLS, PAD, SEP, STOP, WORDS, numbered_documents, store_of
from helpers.work import Rows


def test_an_epoch_of_groups_has_every_sentence_once(tmp_path: Path) -> None:
    store = store_of(
        tmp_path / "store", [[BEGIN, *(t for n in range(12) for t in (6 + n, 20 + n, 33 + n, STOP))]]
    )
    rows = SentenceGroups(Sentences.of(store, WORDS), 8, WORDS, size=4)
    assert rows.rows_in_epoch(0) == 3
    epochs = [[rows.row(epoch, n) for n in range(3)] for epoch in (0, 1, 0)]
    orders = [[int(text.inputs[1]) for group in groups for text in group.first] for groups in epochs]
    assert sorted(orders[0]) == list(range(6, 18))
    assert orders[0] == orders[2] != orders[1]


def test_groups_need_two_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two sentences"):
        SentenceGroups(
            Sentences.of(store_of(tmp_path / "store", numbered_documents([1])), WORDS), 8, WORDS, 4
        )


def test_stretches_are_framed_in_place(tmp_path: Path) -> None:
    packed = Packed(
        np.array([BEGIN, 6, 7, 8, BEGIN, 9, BEGIN, 10, 11, PAD]),
        np.arange(10),
        np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, PADDING], dtype=np.int32),
    )
    row = FramedRows(Rows([packed]), WORDS).row(0, 0)
    assert row.inputs.tolist() == [CLS, 6, 7, SEP, PAD, PAD, CLS, 10, SEP, PAD]
    assert row.segments.tolist() == [0, 0, 0, 0, -1, -1, 2, 2, 2, -1]
    assert packed.inputs[0] == BEGIN


def test_kinds_of_rows_go_through_epochs_of_their_own(tmp_path: Path) -> None:
    mixed = MixedRows([Rows("ab"), Rows("xyz")])
    served = [mixed.row(epoch, n).rows for epoch in range(3) for n in range(mixed.rows_in_epoch(epoch))]
    assert served == [("a", "x"), ("b", "y"), ("a", "z"), ("b", "x"), ("a", "y"), ("b", "z")]
    assert mixed.row(2, 1).rows == ("b", "z")


def test_the_same_stream_whatever_is_read_first(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", numbered_documents([5, 3]))
    rows = FramedRows(StreamRows(store, 8), WORDS)
    assert [rows.row(0, n).inputs.tolist() for n in (1, 0)][::-1] == [
        rows.row(0, n).inputs.tolist() for n in (0, 1)
    ]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_scores_to_five_become_shares_and_every_twentieth_line_is_held_out(tmp_path: Path) -> None:
    file = write(tmp_path / "sts.jsonl", *({"a": f"a{n}", "b": "b", "score": n % 6} for n in range(40)))
    held_out, kept = read_scored(file, True), read_scored(file, False)
    assert [pair.a for pair in held_out] == ["a19", "a39"]
    assert len(kept) == 38
    assert [pair.score for pair in kept[:6]] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    few = write(tmp_path / "few.jsonl", {"a": "x", "b": "y", "score": 0.5})
    assert read_scored(few, False)[0].score == 0.5
    with pytest.raises(UserError, match="less than 20 pairs"):
        read_scored(few, True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "no whole row in it"),
        ({"a": "x"}, "lacks a text"),
        ({"a": "x", "b": "", "score": 1}, "lacks a text 'a' or 'b'"),
        ({"a": "x", "b": "y"}, "no number 'score'"),
        ({"a": "x", "b": "y", "score": True}, "no number 'score'"),
        ({"a": "x", "b": "y", "score": 7}, "score=7 is not from 0 to 1 or from 0 to 5"),
        ("", "holds no rows"),
    ],
)
def test_broken_scored_pairs_are_named(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_scored(write(tmp_path / "f.jsonl", row), False)
