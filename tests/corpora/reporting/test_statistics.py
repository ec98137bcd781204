"""Figures with answers known beforehand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from chatwright.corpora.documents import Doc
from chatwright.corpora.reporting import statistics as s


def test_entropy_of_equal_chances_is_the_logarithm_of_their_number() -> None:
    assert s.entropy([5] * 8) == pytest.approx(3.0)
    assert s.entropy([7]) == s.entropy([]) == 0.0
    assert s.entropy([1, 3]) == pytest.approx(2 - 0.75 * math.log2(3))


def test_diversity_of_a_text_that_turns_in_a_circle() -> None:
    found = s.diversity([list("abcd") * 100])
    assert found["units"] == 400 and found["type_token"] == 0.01
    assert found["unigram_bits"] == pytest.approx(2.0) and found["bigram_bits"] == pytest.approx(
        2.0, abs=0.01
    )
    assert found["conditional_bits"] == 0.0


def test_units_drawn_freely_know_nothing_of_their_neighbour() -> None:
    draw = random.Random(0)
    found = s.diversity([draw.choices("abcd", k=40_000)])
    assert found["conditional_bits"] == pytest.approx(2.0, abs=0.01)
    assert found["bigram_bits"] == pytest.approx(4.0, abs=0.01)


def test_what_follows_a_unit_is_measured_given_that_unit() -> None:
    found = s.diversity([["a", "b"], ["a", "c"]])
    assert found["unigram_bits"] == 1.5 and found["bigram_bits"] == found["conditional_bits"] == 1.0


def test_no_pair_reaches_over_the_end_of_a_text() -> None:
    assert s.diversity([["a"], ["b"]])["bigram_bits"] == 0.0


def test_short_texts_give_all_they_have_and_long_ones_share_the_rest() -> None:
    pieces = s.evenly([["a"] * 100, ["b"] * 2, ["c"] * 50], 22)
    assert list(map(len, pieces)) == [10, 2, 10]
    assert list(map(len, s.evenly([["a"] * 3, []], 100))) == [3, 0]


def test_words_and_characters_are_the_units() -> None:
    assert s.units_of("It's THE 2nd, the", chinese=False) == ["it's", "the", "nd", "the"]
    assert s.units_of("我们 go，去。", chinese=True) == ["我", "们", "去"]


def test_lengths_are_told_apart_by_language() -> None:
    found = s.lengths(["zh-Hans", "en", "zh-Hant", "en"], np.array([30, 100, 50, 1999]))
    assert found["Chinese"]["median"] == 40 and found["Chinese"]["bins"] == [[20, 1], [50, 1]]
    assert found["other languages"]["bins"] == [[100, 1], [200, 0], [500, 0], [1000, 1]]
    assert {*s.lengths(["en"], np.array([5]))} == {"other languages"}


def test_cleanliness_counts_every_character_once() -> None:
    found = s.cleanliness(["ab 1.\n", "\ufffd\x07中"])
    assert (found["letters"], found["digits"], found["punctuation"]) == (0.3333, 0.1111, 0.1111)
    assert (found["white_space"], found["others"]) == (0.2222, 0.2222)
    assert (
        found["replacement_per_million"] == found["control_per_million"] == pytest.approx(1e6 / 9, abs=0.01)
    )


def test_a_line_ends_with_its_mark_also_inside_quotes() -> None:
    text = (
        "He said to all of them: “Enough of that!”\nA heading of more than twenty\nshort\n"
        + "说" * 20
        + "。」\n"
    )
    found = s.cleanliness([text])
    assert found["lines"] == 3 and found["lines_without_end"] == 0.3333


def test_consistency_of_chinese() -> None:
    docs = [
        Doc("1", "a", "你好，世界。今天，好。" * 3, "zh-Hans"),
        Doc("2", "a", "你好,世界。今天,好。" * 3, "zh-Hans"),
        Doc("3", "a", "国国国国國國國國", "zh-Hans"),
        Doc("4", "b", "plain, English. text", "en"),
    ]
    found = s.consistency(docs)
    assert found["languages_by_source"]["b"] == {"en": 1.0} and found["chinese_documents"] == 3
    assert found["half_width"] == 0.25
    assert found["mixed_punctuation"] == found["mixed_scripts"] == 0.3333
    assert s.script_counts("國国学學说") == (3, 2)
    assert s.consistency([])["mixed_scripts"] == 0.0


@pytest.mark.parametrize(
    ("pair", "mixed"), [((2, 2), 0), ((3, 3), 1), ((5, 95), 0), ((90, 10), 1), ((0, 0), 0)]
)
def test_a_few_of_the_other_kind_are_no_mixture(pair: tuple[int, int], mixed: int) -> None:
    simplified, traditional = "国" * pair[0], "國" * pair[1]
    assert s.consistency([Doc("1", "a", simplified + traditional, "zh-Hans")])["mixed_scripts"] == mixed


def test_numbers_with_points_are_no_half_width_punctuation() -> None:
    found = s.consistency([Doc("1", "a", "用时3.5秒，共1,000个。见foo.bar，好", "zh-Hans")])
    assert found["half_width"] == 0.0


def size(documents: int, count: int) -> dict[str, int]:
    return {"documents": documents, "characters": count, "bytes": count}


def test_near_duplicates_are_counted_where_the_step_ran() -> None:
    step = {"name": "near", "before": size(10, 99), "dropped": {"near duplicate": {"documents": 4}}}
    assert s.near_duplicates([step]) == {"dropped": 4, "share": 0.4, "clusters": None}
    clusters = {"count": 4, "documents": 8, "share": 0.8, "sizes": {"2": {"clusters": 4, "documents": 8}}}
    found = s.near_duplicates([{**step, "clusters": {**clusters, "largest": ["long"]}}])
    assert found == {"dropped": 4, "share": 0.4, "clusters": clusters}
    assert s.near_duplicates([]) is None


def test_what_stands_out_is_said_and_nothing_else() -> None:
    clean = {"replacement_per_million": 0.0, "control_per_million": 0.0, "letters": 0.8}
    even = {"mixed_punctuation": 0.0, "mixed_scripts": 0.0, "languages_by_source": {"a": {"en": 1.0}}}
    inputs = {name: {"kept": size(5, 5_000_000)} for name in "ab"}
    report = {"kept": size(10, 10_000_000), "read": size(10, 11_000_000), "inputs": inputs}
    good: dict[str, Any] = {"cleanliness": clean, "consistency": even, "near_duplicates": None}
    assert s.warnings(report, good) == []
    bad = {
        "cleanliness": {"replacement_per_million": 99.0, "control_per_million": 9.0, "letters": 0.3},
        "consistency": {
            "mixed_punctuation": 0.5,
            "mixed_scripts": 0.5,
            "languages_by_source": {"web": {"en": 0.5, "fr": 0.5}},
        },
        "near_duplicates": {"dropped": 5, "share": 0.5},
    }
    said = " ".join(s.warnings({**report, "read": size(10, 99_000_000)}, bad))
    for word in (
        "U+FFFD",
        "control",
        "30%",
        "half-width",
        "Simplified",
        "web is of several",
        "near",
        "not kept",
    ):
        assert word in said
