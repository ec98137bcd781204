"""A difference makes up both texts, whatever they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.reporting import difference as d

TEXTS = st.text(alphabet="ab \n。中", max_size=60)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_the_pieces_make_up_both_texts(before: str, after: str) -> None:
    pieces = d.difference(before, after)
    assert "".join(text for kind, text in pieces if kind != d.IN) == before
    assert "".join(text for kind, text in pieces if kind != d.OUT) == after
    assert all(text for _, text in pieces)
    kinds = [kind for kind, _ in pieces]
    assert all(left != right for left, right in pairwise(kinds))


def test_a_word_is_exchanged_in_its_place() -> None:
    found = d.difference("Write to joe today.\nEnd", "Write to <email> today.\nEnd")
    assert found == [("same", "Write to "), ("out", "joe"), ("in", "<email>"), ("same", " today.\nEnd")]
    assert d.difference("same", "same") == [("same", "same")] and d.difference("", "") == []


def test_what_is_hardly_alike_is_exchanged_whole() -> None:
    assert d.difference("a b c d e f", "u v w x y z") == [("out", "a b c d e f"), ("in", "u v w x y z")]


def test_long_texts_do_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d, "_HELD", 10)
    found = d.difference("head " + "x y " * 9 + "tail", "head " + "y x " * 9 + "tail")
    assert [kind for kind, _ in found] == ["same", "out", "in", "same"]


def test_far_from_a_change_text_is_left_out() -> None:
    pieces = [d.Piece(d.SAME, "a" * 50), d.Piece(d.OUT, "x"), d.Piece(d.SAME, "b" * 50), d.Piece(d.IN, "y")]
    assert d.shortened(pieces, 5) == [
        ("same", "…aaaaa"),
        ("out", "x"),
        ("same", "bbbbb…bbbbb"),
        ("in", "y"),
    ]


def test_what_nobody_sees_is_seen() -> None:
    assert d.seen("a\u200bb\n") == "a‹200B›b\n"
    assert d.seen("a\n\t", d.OUT) == "a⏎\n⇥" and d.seen("  ", d.OUT) == "··" and d.seen("a b", d.IN) == "a b"
