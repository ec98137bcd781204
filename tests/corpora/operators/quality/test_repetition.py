import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.quality.lines import lay_out
from chatwright.corpora.operators.quality.repetition import gram_shares, hash_words, repeated_lines, to_units


def reference(text: str, size: int) -> tuple[float, float]:
    """The shares as their definition has them, unit by unit."""
    units = re.findall("[字天か]|[a-zA-Z0-9é]+", text)
    units = [unit.lower() for unit in units]
    grams = Counter(tuple(units[i : i + size]) for i in range(len(units) - size + 1))
    total = sum(grams.values())
    most = max(grams.values(), default=0)
    top = most * size / len(units) if most > 1 else 0.0
    return ((total - len(grams)) / total if total else 0.0), min(top, 1.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab字天か A1.\n", max_size=60), min_size=1, max_size=4), st.integers(1, 4))
def test_shares_are_those_of_the_definition(texts: list[str], size: int) -> None:
    repeats, top = gram_shares(to_units(lay_out(texts)), size)
    expected = np.array([reference(text, size) for text in texts])
    np.testing.assert_allclose(repeats, expected[:, 0])
    np.testing.assert_allclose(top, expected[:, 1])


def test_known_shares() -> None:
    repeats, top = gram_shares(to_units(lay_out(["to be or not to be or not", "a b c d"])), 2)
    assert repeats.tolist() == [pytest.approx(3 / 7), 0.0]
    assert top.tolist() == [pytest.approx(2 * 2 / 8), 0.0]


def test_word_borders_and_order_count_and_case_does_not() -> None:
    def distinct(*words: str) -> int:
        units = to_units(lay_out([" ".join(words)]))
        return len(set(units.grams(2)[0].tolist()))

    assert distinct("ab", "c", ".", "a", "bc") == 3
    assert distinct("one", "two", "ONE", "Two") == 2
    assert distinct("one", "two", "one") == 2


def test_hashes_of_words_are_those_of_units() -> None:
    units = to_units(lay_out(["Of the Rings"]))
    assert units.grams(1)[0].tolist() == hash_words(["of", "the", "rings"]).tolist()


def test_hashes_do_not_depend_on_place_or_company() -> None:
    filler = "x" * 3000
    alone = to_units(lay_out(["same words here"])).grams(2)[0]
    late = to_units(lay_out([filler, f"{filler} same words here"])).grams(2)[0]
    assert late[-2:].tolist() == alone.tolist()


def test_repeated_lines_count_characters_within_a_document() -> None:
    lines = lay_out(["one line\n\none line\nother\n--\n--", "one line", "a\nA\na"])
    found = repeated_lines(lines, to_units(lines), lines.counts["size"] > 0)
    assert found.tolist() == [7, 0, 2]
    none = repeated_lines(lines, to_units(lines), np.zeros(lines.starts.size, bool))
    assert none.tolist() == [0, 0, 0]
