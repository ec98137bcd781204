import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc
from chatwright.corpora.split import CUT, TRAIN, VALIDATION, Array, cut, position, sides
from chatwright.errors import UserError


def texts(count: int) -> list[str]:
    return [f"document number {number}" for number in range(count)]


def divided(documents: list[str], fraction: float = 0.01, seed: int = 0) -> tuple[Array, float]:
    places = np.array([position(text, seed) for text in documents])
    return sides(places, np.array([len(text) for text in documents]), fraction)


@pytest.mark.parametrize("count", [2, 3, 10, 100, 2000])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.5])
def test_no_side_is_empty_and_validation_has_the_lowest_places(count: int, fraction: float) -> None:
    for seed in range(5):
        found, _ = divided(texts(count), fraction, seed)
        assert {TRAIN, VALIDATION} == {*found.tolist()}
        places = np.array([position(text, seed) for text in texts(count)])
        assert places[found == VALIDATION].max() < places[found == TRAIN].min()


def test_share_and_seed() -> None:
    found, _ = divided(texts(20_000), 0.05)
    assert 0.045 < (found == VALIDATION).mean() < 0.055
    assert (divided(texts(20_000), 0.05)[0] == found).all()
    assert (divided(texts(20_000), 0.05, seed=1)[0] != found).any()


def test_the_side_does_not_depend_on_order_or_on_other_documents() -> None:
    documents = texts(3000)
    found, _ = divided(documents)
    validation = {text for text, side in zip(documents, found, strict=True) if side == VALIDATION}
    shuffled = random.Random(0).sample(documents, len(documents))
    again, _ = divided(shuffled)
    assert {text for text, side in zip(shuffled, again, strict=True) if side == VALIDATION} == validation
    more, _ = divided(texts(6000))
    assert {text for text, side in zip(texts(6000), more, strict=True) if side == VALIDATION} >= validation


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5])
def test_equal_texts_never_stand_on_both_sides(fraction: float) -> None:
    documents = [f"text {i % 7}" + " " * (i % 2) for i in range(70)]
    for seed in range(5):
        found, _ = divided(documents, fraction, seed)
        by_side = [
            {text.strip() for text, at in zip(documents, found, strict=True) if at == side}
            for side in (TRAIN, VALIDATION)
        ]
        assert all(by_side)
        assert not by_side[0] & by_side[1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(2, 10**6)), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_both_sides_hold_text_whatever_the_documents(
    documents: list[tuple[int, int]], fraction: float
) -> None:
    places = np.array([place / 6 for place, _ in documents])
    found, share = sides(places, np.array([length for _, length in documents]), fraction)
    for side in (TRAIN, VALIDATION):
        assert ((found == side) | (found == CUT)).any()
    for place in {*places.tolist()}:
        assert len({*found[places == place].tolist()}) == 1
    assert 0.5 <= share < 1


def test_a_long_document_is_cut_and_not_lost_to_training() -> None:
    places, lengths = np.array([0.2, 0.5, 0.9]), np.array([400_000, 300_000, 300_000])
    found, share = sides(places, lengths, 0.01)
    assert found.tolist() == [CUT, TRAIN, TRAIN]
    assert share == 1 - 0.1 * 1_000_000 / 400_000
    assert sides(places, np.array([60_000, 300, 300]), 0.01)[0].tolist() == [VALIDATION, TRAIN, TRAIN]


def test_where_all_would_be_validation_the_nearest_goes_to_training_however_long() -> None:
    found, _ = sides(np.array([0.1, 0.2, 0.4]), np.array([300, 300, 400_000]), 0.5)
    assert found.tolist() == [VALIDATION, VALIDATION, TRAIN]


def test_one_document_is_cut_near_nine_tenths() -> None:
    text = "".join(f"Line number {i} of the only file.\n" for i in range(100))
    found, share = divided([text])
    assert found.tolist() == [CUT]
    head, tail = cut(Doc("a", "s", text), share)
    assert head.text + tail.text == text
    assert head.text.endswith("\n")
    assert 0.8 < len(head.text) / len(text) < 0.95
    assert (head.id, tail.id) == ("a#head", "a#tail")


def test_copies_with_other_space_around_them_are_cut_at_the_same_place() -> None:
    text = "One sentence. And another one, the longer of the two. A third."
    found, share = divided([text, f"\n {text}\n\n"])
    assert found.tolist() == [CUT, CUT]
    first, second = (cut(Doc("a", "s", each), share) for each in (text, f"\n {text}\n\n"))
    assert [part.text.strip() for part in first] == [part.text.strip() for part in second]


def test_nothing_has_no_sides() -> None:
    assert len(sides(np.zeros(0), np.zeros(0, np.int64), 0.1)[0]) == 0


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("ab", "a"),
        ("  a b \n", "  a "),
        ("One line. Of three sentences, the last of which is this one. Yes.", None),
        ("第一句话。第二句话比较长一些，有逗号。第三句话也不短。第四句。", None),
        ("x" * 1000, "x" * 900),
        ("a\n" * 50, "a\n" * 44),
    ],
)
def test_cut_at_a_boundary_and_both_parts_hold_text(text: str, head: str | None) -> None:
    first, second = cut(Doc("a", "s", text))
    assert first.text + second.text == text
    assert first.text.strip()
    assert second.text.strip()
    if head is None:
        assert first.text.rstrip()[-1] in ".,。，" or first.text.endswith(" ")
    else:
        assert first.text == head


def test_cut_on_random_texts() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices("ab \n.。，", k=rng.randint(2, 60)))
        if len(text.strip()) < 2:
            continue
        for share in (0.5, 0.9):
            first, second = cut(Doc("a", "s", text), share)
            assert first.text + second.text == text
            assert first.text.strip()
            assert second.text.strip()


def test_too_little_text() -> None:
    with pytest.raises(UserError, match="a is all the text there is; a corpus needs at least 2"):
        cut(Doc("a", "s", " x\n"))


def test_a_shelf_of_books_gives_a_tenth_and_not_a_book() -> None:
    for count in (2, 3, 5):
        books = [f"Sentence of book {i}. " * 10_000 for i in range(count)]
        found, share = divided(books, 0.0)
        (at,) = (found == CUT).nonzero()[0]
        head, tail = cut(Doc("a", "s", books[at]), share)
        assert head.text + tail.text == books[at]
        assert 0.05 < len(tail.text) / sum(map(len, books)) < 0.15
