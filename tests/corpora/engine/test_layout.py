from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc
from chatwright.corpora.engine import layout, parts
from chatwright.corpora.engine.layout import grouped, lay_out
from chatwright.corpora.engine.parts import Part
from chatwright.corpora.engine.stages import ends_of
from chatwright.corpora.operators.mixing import Wish
from chatwright.corpora.split import TRAIN, VALIDATION, position


def write_ends(place: Path, made: list[list[Doc]], seed: int = 0) -> list[str]:
    names = []
    for number, docs in enumerate(made):
        names.append(f"{number:05}")
        parts.write_arrays(place / f"{names[-1]}.npz", ends_of(Part.of(docs), seed))
    return names


def docs(count: int, source: str = "a", start: int = 0) -> list[Doc]:
    return [Doc(f"{source}{i}", source, f"{source} document {i}") for i in range(start, start + count)]


def test_sides_and_copies_of_every_part(tmp_path: Path) -> None:
    made = [docs(30), [], docs(50, "b"), docs(20, "a", 30)]
    names = write_ends(tmp_path, made)
    found = lay_out(names, tmp_path, tmp_path / "layout.npz", 0.2, ["a", "b"], {"b": Wish(epochs=1.5)})
    assert found is not None
    assert found.epochs == {"a": 1.0, "b": 1.5}
    arrays = parts.read_arrays(tmp_path / "layout.npz")
    for name, part in zip(names, made, strict=True):
        sides = [VALIDATION if position(doc.text, 0) < 0.2 else TRAIN for doc in part]
        assert arrays[f"{name}/sides"].tolist() == sides
        times = arrays[f"{name}/copies"].tolist()
        for doc, side, count in zip(part, sides, times, strict=True):
            assert count in ((1, 2) if doc.source == "b" and side == TRAIN else (1,))
    assert 40 <= arrays[f"{names[2]}/copies"].sum() <= 80


def test_no_documents_have_no_layout(tmp_path: Path) -> None:
    assert lay_out(write_ends(tmp_path, [[], []]), tmp_path, tmp_path / "l.npz", 0.1, ["a"], {}) is None


def copies(times: float, texts: Sequence[tuple[float, int]]) -> list[int]:
    """The copies of texts, given by their places and lengths."""
    places = np.array([place for place, _ in texts], np.float64)
    found = layout._copies(times, places, np.array([length for _, length in texts], np.int64))
    return [int(number) for number in found]


def draw(place: float) -> int:
    """Splitmix64's finish in whole numbers of Python."""
    bits = int(place * 2**53)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits = (bits ^ (bits >> shift)) * factor % 2**64
    return bits


def test_the_smallest_draws_stand_once_more() -> None:
    places = [0.1, 0.25, 0.5, 0.75, 0.9]
    first, second, third, *_ = sorted(range(5), key=lambda number: draw(places[number]))
    texts = [(place, 100) for place in places]
    texts[first], texts[second], texts[third] = (
        (places[n], m) for n, m in ((first, 40), (second, 10), (third, 50))
    )
    # of 300 characters in all: 0, 40, 50, 100, 200 and 300 can stand once more
    for wished, more in ((19, 0), (21, 1), (44, 1), (46, 2), (74, 2), (76, 3), (149, 3), (251, 5)):
        found = copies(2 + wished / 300, texts)
        assert sum(found) == 10 + more
        assert [found[number] for number in (first, second, third)] == [2 + (more > n) for n in range(3)]


PLACES = st.integers(0, 12).map(lambda number: number / 13)


@given(st.lists(st.tuples(PLACES, st.integers(0, 10**6)), max_size=30), st.floats(0, 4))
def test_copies_come_as_near_as_texts_allow(texts: list[tuple[float, int]], times: float) -> None:
    found = copies(times, texts)
    alike: dict[float, int] = {}
    for place, length in texts:
        alike[place] = alike.get(place, 0) + length
    reached = sum(number * length for number, (_, length) in zip(found, texts, strict=True))
    wished = times * sum(length for _, length in texts)
    assert abs(reached - wished) <= max(alike.values(), default=0) / 2 + 1e-3
    assert {*found} <= {int(times), int(times) + 1}
    assert len({*zip([place for place, _ in texts], found, strict=True)}) == len(alike)
    assert copies(times, texts[::-1]) == found[::-1]
    assert copies(int(times), texts) == [int(times)] * len(texts)


def test_what_is_drawn_does_not_go_with_the_side() -> None:
    """Training holds the places from `fraction` on: thinning it out must not favour some of them."""
    found = copies(0.5, [(place, 1) for place in np.linspace(0.3, 1, 20_000, endpoint=False)])
    assert abs(np.mean(found[:10_000]) - 0.5) < 0.02
    assert abs(np.mean(found[10_000:]) - 0.5) < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_a_share_is_reached_whatever_the_lengths_and_the_parts(tmp_path: Path, seed: int) -> None:
    """A few hundred texts of very different lengths, whose copies one draw each would share out badly."""
    lengths = np.random.default_rng(seed).lognormal(6, 1.5, 297).astype(int).tolist()
    web = [Doc(f"w{n}", "web", f"{n} ".ljust(length + 5, "x")) for n, length in enumerate(lengths)]
    made = docs(4000, "books") + web
    found = {}
    for name, size in (("one", len(made)), ("many", 500)):
        place = tmp_path / name
        place.mkdir()
        split = [made[begin : begin + size] for begin in range(0, len(made), size)]
        names = write_ends(place, split, seed)
        assert lay_out(names, place, place / "l.npz", 0.1, ["books", "web"], {"web": Wish(share=0.3)})
        arrays = parts.read_arrays(place / "l.npz")
        found[name] = [np.concatenate([arrays[f"{n}/{what}"] for n in names]) for what in ("sides", "copies")]
    sides, times = found["one"]
    assert all((one == many).all() for one, many in zip(*found.values(), strict=True))
    sizes = np.array([len(doc.text) for doc in made]) * (sides == TRAIN) * times
    assert abs(sizes[4000:].sum() - 0.3 / 0.7 * sizes[:4000].sum()) <= max(len(doc.text) for doc in web) / 2


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 150))
def test_groups_hold_all_in_order_and_end_when_full(sizes: list[int], most: int) -> None:
    names = [str(number) for number in range(len(sizes))]
    groups = grouped(names, sizes, most)
    assert [name for group in groups for name in group] == names
    for group in groups[:-1]:
        filled = [sizes[int(name)] for name in group]
        assert sum(filled) >= most > sum(filled[:-1])


@pytest.mark.parametrize("seed", [0, 1])
def test_ends_know_lengths_and_inputs(seed: int) -> None:
    made = [Doc("1", "b", "字字"), Doc("2", "a", "abc"), Doc("3", "b", "")]
    ends = ends_of(Part.of(made), seed)
    assert ends["characters"].tolist() == [2, 3, 0]
    assert [ends["sources"][number] for number in ends["source"]] == ["b", "a", "b"]
    assert ends["position"].tolist() == [position(doc.text, seed) for doc in made]
