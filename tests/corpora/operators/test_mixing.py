import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.mixing import Wish, epochs, wish
from chatwright.errors import UserError


def test_wishes_are_epochs_or_shares() -> None:
    assert wish("2.5", "mix.a") == wish(2.5, "mix.a") == Wish(epochs=2.5)
    assert wish("30%", "mix.a") == Wish(share=0.3)


@pytest.mark.parametrize("value", ["-1", "many", "101%", "1001", "%", "nan", "inf"])
def test_wishes_that_cannot_be_are_refused(value: str) -> None:
    with pytest.raises(
        UserError, match=r"mix\.a=.* is neither epochs from 0 to 1000, as 2\.5, nor a share, as 30%"
    ):
        wish(value, "mix.a")


def test_known_answers() -> None:
    sizes = {"a": 60, "b": 40}
    assert epochs(sizes, {}) == {"a": 1, "b": 1}
    assert epochs(sizes, {"a": Wish(epochs=2.5)}) == {"a": 2.5, "b": 1}
    assert epochs(sizes, {"b": Wish(share=0.5)}) == {"a": 1, "b": 1.5}
    assert epochs(sizes, {"b": Wish(share=0.5), "a": Wish(epochs=2)}) == {"a": 2, "b": 3}
    assert epochs(sizes, {"a": Wish(share=0.5), "b": Wish(share=0.5)}) == {"a": 50 / 60, "b": 1.25}
    assert epochs(sizes, {"a": Wish(share=0), "b": Wish(share=1)}) == {"a": 0, "b": 2.5}
    assert epochs({"a": 0, "b": 5}, {"a": Wish(share=0)}) == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"bb": Wish(epochs=1)}, "mix.bb: no input or language is called so; did you mean 'b'"),
        ({"a": Wish(share=1)}, "the shares make 100% and leave no room for b, c"),
        ({"a": Wish(share=0.4), "b": Wish(share=0.4)}, "they must make 100%"),
        ({"c": Wish(share=0.4)}, "mix.c is to have a share, but nothing of it is left"),
    ],
)
def test_what_cannot_be_is_refused(wishes: dict[str, Wish], said: str) -> None:
    with pytest.raises(UserError, match=said):
        epochs({"a": 60, "b": 40, "c": 0}, wishes)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**9), min_size=2),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 15), max_size=4),
)
def test_shares_are_what_was_wished(sizes: dict[str, int], shares: dict[str, int]) -> None:
    wishes = {name: Wish(share=share / 100) for name, share in shares.items() if name in sizes}
    if len(wishes) == len(sizes):
        return
    found = epochs(sizes, wishes)
    total = sum(found[name] * sizes[name] for name in sizes)
    for name, asked in wishes.items():
        assert found[name] * sizes[name] / total == pytest.approx(asked.share, abs=1e-9)
    assert all(found[name] == 1 for name in sizes if name not in wishes)
