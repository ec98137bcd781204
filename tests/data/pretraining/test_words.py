"""Where words begin: letters side by side, pieces of characters, and Chinese by a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from chatwright.data.pretraining.words import Words
from helpers.framed import facts_of


def begins(*tokens: str | bytes) -> list[bool]:
    """Whether a word begins at each of these tokens, in this order."""
    starts: list[bool] = Words(facts_of(*tokens)).starts(np.arange(len(tokens)) + 5).tolist()
    return starts


def test_words_of_letters_begin_at_their_spaces() -> None:
    assert begins("The", " un", "believ", "able", " cat", ".") == [True, True, False, False, True, True]


def test_word_pieces_go_on_where_they_say() -> None:
    assert begins("the", "cat", "##s", "ran") == [True, True, False, True]


def test_the_rest_of_a_character_never_begins_a_word() -> None:
    first, rest = "é".encode()[:1], "é".encode()[1:]
    assert begins(" caf", first, rest, " ", "au")[2] is False


def test_chinese_words_are_those_of_the_dictionary() -> None:
    text = "我们在北京大学学习自然语言处理。"
    starts = begins(*text)
    words: list[str] = []
    for character, start in zip(text, starts, strict=True):
        if start:
            words.append("")
        words[-1] += character
    assert words == ["我们", "在", "北京大学", "学习", "自然语言", "处理", "。"]


def test_a_token_with_parts_of_two_words_joins_them() -> None:
    assert begins("我", "们在", "北京") == [True, False, True]


def test_characters_in_pieces_and_cut_at_the_row_keep_to_their_words() -> None:
    ocean = "学".encode()
    assert begins(ocean[2:], " the", "北", "京", ocean[:2], ocean[2:], "习", ocean[:1]) == [
        True, True, True, False, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "a", "我"])
def test_rows_of_one_token(text: str) -> None:
    assert begins(text) == [True]
