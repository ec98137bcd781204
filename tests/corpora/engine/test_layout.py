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


def test_copies_are_as_many_as_wished_on_average() -> None:
    places = np.random.default_rng(0).random(5000)
    for times in (0.0, 0.25, 1.0, 2.5):
        found = layout._copies(np.full(5000, times), places)
        draws = [number - int(times) for number in found.tolist()]
        assert {*draws} <= {0, 1}
        assert abs(np.mean(found) - times) < 0.03


def test_what_is_drawn_does_not_go_with_the_side() -> None:
    """Training holds the places from `fraction` on: thinning it out must not favour some of them."""
    places = np.linspace(0.3, 1, 20_000, endpoint=False)
    found = layout._copies(np.full(20_000, 0.5), places)
    assert abs(found[:10_000].mean() - 0.5) < 0.02
    assert abs(found[10_000:].mean() - 0.5) < 0.02


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
