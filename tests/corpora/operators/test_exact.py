import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.duplicates import repeats
from chatwright.corpora.operators.exact import Exact, ExactOptions
from helpers.collective import collect, in_parts

STEP = Exact(ExactOptions())


def test_first_of_equal_documents_stays_and_the_rest_is_counted() -> None:
    left, notes = collect(STEP, in_parts(["a", "b", "a\n", "A", " b", "a b", "a  b", "a\u3000b"], 3, 1))
    assert [doc.id for doc in left] == ["0", "1", "3", "5"]
    assert notes.dropped["exact duplicate"].documents == 4
    assert notes.dropped["exact duplicate"].first == "2"


def test_case_may_be_ignored() -> None:
    left, _ = collect(Exact(ExactOptions(ignore_case=True)), in_parts(["A b", "a B", "ä", "Ä"]))
    assert [doc.id for doc in left] == ["0", "2", "3"]


def test_what_went_before_does_not_count_as_first() -> None:
    left, _ = collect(STEP, in_parts(["a", "a", "b", "a"], 2), lambda doc: doc.id != "0")
    assert [doc.id for doc in left] == ["1", "2"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("ab \n中", max_size=4), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_agrees_with_a_set_however_it_is_divided(texts: list[str], one: int, other: int) -> None:
    seen: set[str] = set()
    plain = ["".join(text.split()) for text in texts]
    first = [str(n) for n, text in enumerate(plain) if not (text in seen or seen.add(text))]  # type: ignore[func-returns-value]
    for at_once in (1 << 24, 7):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repeats, "_AT_ONCE", at_once)
            left, _ = collect(STEP, in_parts(texts, one, other))
        assert [doc.id for doc in left] == first


def test_no_documents_no_decisions() -> None:
    assert STEP.decide([], []) == []
    assert collect(STEP, [[], []])[0] == []
