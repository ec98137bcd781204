"""Terms and accuracies on held-out rows: means over all of them, the same at every call, with interval and chance."""

from __future__ import annotations

import pytest

from chatwright.evaluation.answers import wilson_interval
from chatwright.evaluation.pretraining import held_out_text
from helpers.work import Rows, alone, objective_of


@pytest.mark.parametrize("name", ["masked", "next_sentence"])
def test_accuracies_have_interval_and_chance_however_rows_are_cut(name: str) -> None:
    objective = objective_of(name)
    roots, rows = objective.example()
    found = [
        held_out_text(objective, roots, Rows(rows), 12, cut, {name: 0.25}, alone()) for cut in (12, 5, 1)
    ]
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, rel=1e-5)
        assert found[2][key] == pytest.approx(value, rel=1e-5)
    assert set(found[0]) == {name, f"{name}_accuracy", f"{name}_interval", f"{name}_chance"}
    accuracy, (low, high) = found[0][f"{name}_accuracy"], found[0][f"{name}_interval"]
    assert low <= accuracy <= high
    if name == "next_sentence":
        assert (low, high) == wilson_interval(12 * accuracy, 12)


def test_a_part_of_the_rows_is_spread_over_all() -> None:
    objective = objective_of("next_sentence")
    roots, rows = objective.example()
    asked: list[int] = []

    class Watched(Rows):
        def row(self, epoch: int, index: int) -> object:
            asked.append(index)
            return super().row(epoch, index)

    found = held_out_text(objective, roots, Watched(rows), 4, 3, {}, alone())
    assert asked == [0, 3, 7, 11]
    assert "next_sentence_chance" not in found
