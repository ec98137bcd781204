import random
from itertools import pairwise

import pytest

from chatwright.corpora.documents import Doc
from chatwright.corpora.split import cut, position, split
from chatwright.errors import UserError


def docs(count: int, words: str = "document number") -> list[Doc]:
    return [Doc(str(number), "s", f"{words} {number}") for number in range(count)]


def sides(documents: list[Doc], fraction: float = 0.01, seed: int = 0) -> tuple[list[Doc], list[Doc]]:
    found = list(split(iter(documents), fraction, seed))
    train = [doc for side, doc in found if side == "train"]
    return train, [doc for side, doc in found if side == "validation"]


@pytest.mark.parametrize("count", [2, 3, 10, 100, 2000])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.5])
def test_every_document_is_on_one_side_and_no_side_is_empty(count: int, fraction: float) -> None:
    for seed in range(5):
        train, validation = sides(docs(count), fraction, seed)
        assert train
        assert validation
        assert sorted(doc.id for doc in train + validation) == sorted(doc.id for doc in docs(count))
        places = {doc.id: position(doc.text, seed) for doc in train + validation}
        assert max(places[doc.id] for doc in validation) < min(places[doc.id] for doc in train)


def test_share_and_seed() -> None:
    train, validation = sides(docs(20_000), 0.05)
    assert 0.045 < len(validation) / 20_000 < 0.055
    assert sides(docs(20_000), 0.05) == (train, validation)
    assert sides(docs(20_000), 0.05, seed=1)[1] != validation


def test_the_side_does_not_depend_on_order_or_on_other_documents() -> None:
    documents = docs(3000)
    validation = {doc.id for doc in sides(documents)[1]}
    shuffled = random.Random(0).sample(documents, len(documents))
    assert {doc.id for doc in sides(shuffled)[1]} == validation
    assert {doc.id for doc in sides(docs(6000))[1]} >= validation


def test_order_is_kept_but_for_the_one_held_back() -> None:
    train, validation = sides(docs(3000))
    for side in (train, validation):
        numbers = [int(doc.id) for doc in side]
        assert sum(a > b for a, b in pairwise(numbers)) <= 8


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5])
def test_equal_texts_never_stand_on_both_sides(fraction: float) -> None:
    documents = [Doc(str(i), "s", f"text {i % 7}" + " " * (i % 2)) for i in range(70)]
    for seed in range(5):
        train, validation = sides(documents, fraction, seed)
        assert train
        assert validation
        assert not {doc.text.strip() for doc in train} & {doc.text.strip() for doc in validation}
        assert len(train) + len(validation) == 70


def test_one_document_is_cut_near_nine_tenths() -> None:
    text = "".join(f"Line number {i} of the only file.\n" for i in range(100))
    for seed in range(3):
        (head,), (tail,) = sides([Doc("a", "s", text)], 0.01, seed)
        assert head.text + tail.text == text
        assert head.text.endswith("\n")
        assert 0.8 < len(head.text) / len(text) < 0.95
        assert (head.id, tail.id) == ("a#head", "a#tail")


def test_copies_of_one_document_are_cut_alike() -> None:
    train, validation = sides([Doc("1", "s", "the same text"), Doc("2", "s", "the same text")])
    assert len({doc.text for doc in train}) == len({doc.text for doc in validation}) == 1


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
        sides([Doc("a", "s", " x\n")])
    assert sides([]) == ([], [])


def test_a_shelf_of_books_gives_a_tenth_and_not_a_book() -> None:
    for count in (2, 3, 5):
        books = [Doc(str(i), "s", f"Sentence of book {i}. " * 10_000) for i in range(count)]
        train, validation = sides(books, 0.0)
        total = sum(len(doc.text) for doc in books)
        assert sum(len(doc.text) for doc in train + validation) == total
        assert len(validation) == 1
        assert 0.05 < len(validation[0].text) / total < 0.15
