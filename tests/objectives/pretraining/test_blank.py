"""A rank without rows collates one that was never prepared and counts nothing: every objective over text takes it."""

from __future__ import annotations

import pytest

from chatwright import registry
from chatwright.objectives.pretraining.making import text_objectives
from helpers.work import objective_of


@pytest.mark.parametrize("name", [*text_objectives(), "mixture"])
def test_a_row_that_counts_nothing_needs_no_preparation(name: str) -> None:
    assert name in registry.table("objective")
    objective = objective_of(name)
    roots, rows = objective.example()
    batch = objective.collate([rows[0].blank()])
    assert set(objective.counts(batch).values()) == {0}
    assert batch.tokens == 0
    for terms in objective.passes(roots, batch):
        assert all(bool(value.isfinite()) for value in terms.values())
