import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.duplicates import tokens as module
from chatwright.corpora.operators.duplicates.folding import ALONE, folding
from chatwright.corpora.operators.duplicates.tokens import jaccard, ngrams, shingles, tokens

TEXT = st.text(st.one_of(st.characters(), st.sampled_from("ab中国 \n。")), max_size=40)


def plain_words(text: str) -> list[tuple[int, int, tuple[int, ...]]]:
    """The words by a loop over characters."""
    words: list[tuple[int, int, tuple[int, ...]]] = []
    open_word = False
    for place, character in enumerate(text):
        folded = int(folding()[ord(character)])
        if folded >= ALONE or (folded and not open_word):
            words.append((place, place + 1, (folded,)))
        elif folded:
            start, _, so_far = words[-1]
            words[-1] = (start, place + 1, (*so_far, folded))
        open_word = 0 < folded < ALONE
    return words


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT, max_size=5))
def test_words_are_those_of_a_loop(texts: list[str]) -> None:
    found = tokens(texts)
    plain = [plain_words(text) for text in texts]
    assert np.diff(found.ends, prepend=0).tolist() == list(map(len, plain))
    spans = list(zip(found.starts.tolist(), found.stops.tolist(), strict=True))
    assert spans == [word[:2] for words in plain for word in words]
    by_word: dict[tuple[int, ...], int] = {}
    for hashed, (_, _, word) in zip(
        found.hashes.tolist(), [w for words in plain for w in words], strict=True
    ):
        assert by_word.setdefault(word, hashed) == hashed
    assert len(set(by_word.values())) == len(by_word)


@settings(deadline=None, max_examples=30)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_blocks_do_not_show(texts: list[str]) -> None:
    whole = tokens(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 64)
        module._powers.cache_clear()
        cut = tokens(texts)
    module._powers.cache_clear()
    if all(len(run) < 64 for run in re.split(r"[\x00\t\n\r ]", "\n".join(texts))):
        assert cut.hashes.tolist() == whole.hashes.tolist()
        assert cut.starts.tolist() == whole.starts.tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT, max_size=5), st.integers(1, 6))
def test_ngrams_are_those_of_a_loop(texts: list[str], size: int) -> None:
    words = tokens(texts)
    found, ends = ngrams(words, size)
    lists = np.split(words.hashes, words.ends[:-1]) if texts else []
    plain = [[tuple(one[i : i + size].tolist()) for i in range(len(one) - size + 1)] for one in lists]
    assert np.diff(ends, prepend=0).tolist() == list(map(len, plain))
    names: dict[tuple[int, ...], int] = {}
    for hashed, gram in zip(found.tolist(), [gram for grams in plain for gram in grams], strict=True):
        assert names.setdefault(gram, hashed) == hashed
    assert len(set(names.values())) == len(names)


def test_order_of_words_counts() -> None:
    one, other = (ngrams(tokens([text]), 2)[0] for text in ("a b", "b a"))
    assert one != other


def test_a_short_text_is_one_shingle_and_an_empty_one_none() -> None:
    found, ends = shingles(["one two", "", "ONE, two!", "two one", "a b c d e f", "..."], 5)
    assert ends.tolist() == [1, 1, 2, 3, 5, 5]
    assert found[0] == found[1] != found[2]


def test_known_similarities() -> None:
    assert jaccard("a b c d e f", "A, b; c d e f.") == 1
    assert jaccard("a b c d e f", "a b c d e g") == pytest.approx(1 / 3)
    assert jaccard("发展中国家的软件", "發展中國家的軟件") == 1
    assert jaccard("", "a") == jaccard("", "") == 0


def test_lone_surrogates_are_harmless() -> None:
    assert np.diff(tokens(["a \ud800 b", "c"]).ends, prepend=0).tolist() == [2, 1]
