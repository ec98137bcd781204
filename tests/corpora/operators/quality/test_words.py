import random

import numpy as np

from chatwright.corpora.operators.quality.lines import lay_out
from chatwright.corpora.operators.quality.repetition import to_units
from chatwright.corpora.operators.quality.words import chinese, english


def english_words(text: str) -> tuple[list[str], list[str], list[str]]:
    lines = lay_out([text])
    units = to_units(lines)
    words = "".join(c if c.isalnum() else " " for c in text).lower().split()
    flags = english(lines, units)
    stop, first, misplaced = ([word for word, flag in zip(words, row, strict=True) if flag] for row in flags)
    return stop, first, misplaced


def test_small_words_and_those_out_of_place() -> None:
    stop, first, misplaced = english_words("The cat of the of a house was in and under it")
    assert stop == ["the", "of", "the", "of", "a", "was", "in", "and", "it"]
    assert first == ["the", "of", "the", "of", "a", "in"]
    assert misplaced == ["the", "in"]


def test_marks_between_words_excuse_them() -> None:
    assert english_words("the, of")[2] == []
    assert english_words("the `of` operator")[2] == []
    assert english_words("the\nof")[2] == []
    assert english_words("Thea of theory")[0] == ["of"]


def characters(text: str) -> tuple[str, str]:
    small, misplaced = chinese(lay_out([text]))
    return tuple("".join(c for c, flag in zip(text, row, strict=False) if flag) for row in (small, misplaced))  # type: ignore[return-value]


def test_chinese_particles_and_pauses_out_of_place() -> None:
    assert characters("我的书和笔，很好。") == ("的和，。", "")
    assert characters("书，的笔和。了，，")[1] == "的和了，"
    assert characters("“好”的")[1] == ""


def test_shuffling_is_what_it_sees() -> None:
    sentence = "the dog of the man in the house at the end of the road was with a child from the town"
    words = sentence.split()
    assert not english(*prepared(sentence))[2].any()
    rng = random.Random(0)
    found = []
    for _ in range(20):
        rng.shuffle(words)
        found.append(int(english(*prepared(" ".join(words)))[2].sum()))
    assert np.mean(found) > 2


def prepared(text: str):  # type: ignore[no-untyped-def]
    lines = lay_out([text])
    return lines, to_units(lines)
