"""Small changes: what they change, what they keep, and that they are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.augment.thesaurus import Thesaurus, built_in, read_thesaurus
from chatwright.corpora.augment.ways import delete_words, replace_words, swap_words
from chatwright.corpora.augment.words import is_word, split_words
from chatwright.errors import UserError

ENGLISH = "The quick brown fox, who wasn't tired, jumps over a big dog. It began at 9:30!"
CHINESE = "因为天气很好，所以孩子们非常高兴。他们开始学习新的方法！"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.text(max_size=80), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_any_text_is_its_words_and_survives(text: str, seed: int) -> None:
    assert "".join(split_words(text)) == text
    words = [piece for piece in split_words(text) if is_word(piece)]
    assert isinstance(replace_words(text, 0.3, built_in(), rng(seed)), str)
    swapped = [piece for piece in split_words(swap_words(text, 0.3, rng(seed))) if is_word(piece)]
    assert Counter("".join(swapped)) == Counter("".join(words))
    assert len(delete_words(text, 0.3, rng(seed))) <= len(text)


def test_a_word_becomes_one_of_its_group() -> None:
    thesaurus = Thesaurus([["big", "large"], ["began", "started"], ["quick", "fast"], ["big", "grown-up"]])
    assert thesaurus.of("BIG") == ["LARGE", "GROWN-UP"]
    assert thesaurus.of("Quick") == ["Fast"]
    found = replace_words(ENGLISH, 0.5, thesaurus, rng())
    assert (
        found.replace("large", "big")
        .replace("grown-up", "big")
        .replace("fast", "quick")
        .replace("started", "began")
        == ENGLISH
    )
    assert found != ENGLISH


def test_an_article_follows_its_word() -> None:
    thesaurus = Thesaurus([["apple", "pear"]])
    assert replace_words("An apple and a pear", 0.5, thesaurus, rng()) == "A pear and an apple"


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_every_way_changes_a_text_in_either_language(text: str) -> None:
    for way in (lambda t, r: replace_words(t, 0.2, built_in(), r), lambda t, r: swap_words(t, 0.2, r), lambda t, r: delete_words(t, 0.2, r)):  # fmt: skip
        assert way(text, rng(1)) != text
        assert way(text, rng(1)) == way(text, rng(1))
        assert len({way(text, rng(seed)) for seed in range(8)}) > 1, "drawn"


def test_words_change_places_inside_a_sentence_only() -> None:
    found = {swap_words("one two. three four", 0.5, rng(seed)) for seed in range(20)}
    assert found <= {"two one. three four", "one two. four three", "two one. four three"}


def test_as_many_words_go_as_was_asked_and_one_stays() -> None:
    text = " ".join(f"w{number}" for number in range(40))
    assert len(delete_words(text, 0.25, rng()).split()) == 30
    assert delete_words("only", 0.5, rng()) == "only"
    assert delete_words("", 0.5, rng()) == ""


def test_lists_of_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Aa01A01= 人 士 人物\nAa01A02# 人类 生人\nbig, large\n", encoding="utf-8")
    found = read_thesaurus(path)
    assert (found.of("人"), found.of("人类"), found.of("big")) == (["士", "人物"], [], ["large"])
    path.write_text("alone\n")
    with pytest.raises(UserError, match="no line has two words"):
        read_thesaurus(path)
