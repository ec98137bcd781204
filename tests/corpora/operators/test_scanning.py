from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.scanning import Texts


def test_where_a_pattern_starts() -> None:
    texts = Texts(["a1b22", "none", "", "33 中4", "\x015"])
    assert list(texts.starts("[0-9]+")) == [(0, [1, 3]), (3, [0, 4]), (4, [1])]
    assert texts.holding("[0-9]") == [0, 3, 4]
    assert texts.occurrences("[A-B]").tolist() == [2, 0, 0, 0, 0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(st.sampled_from("ab中\x01\ud800\n")), max_size=5))
def test_places_are_those_of_the_text(texts: list[str]) -> None:
    plain = {n: [p for p, c in enumerate(text) if c == "b"] for n, text in enumerate(texts) if "b" in text}
    assert dict(Texts(texts).starts("b")) == plain
