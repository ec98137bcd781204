"""Stored batches: a pure function of (seed, step, row), however many processes share them."""

from __future__ import annotations

from itertools import chain

import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.distributed.launch import World
from chatwright.objectives.causal import Causal, example_rows
from chatwright.training.loop import accumulate
from chatwright.training.sources import StoredSource
from helpers.work import Rows, numbered_rows, objective_of


def source(
    rows: int = 7, step: int = 5, micro: int = 2, rank: int = 0, size: int = 1, seed: int = 0
) -> StoredSource:
    here = World(rank, size, torch.device("cpu"))
    return StoredSource(Rows(numbered_rows(rows)), objective_of("causal"), step, micro, seed, here)


def served(made: StoredSource, step: int) -> list[int]:
    """The numbers of the rows that count; each row of `numbered_rows` is filled with its own."""
    return [
        int(row[0])
        for batch in made.batches(step)
        for row, targets in zip(batch["inputs"], batch["targets"], strict=True)
        if (targets != IGNORE).any()
    ]


@pytest.mark.parametrize("step", [0, 1, 2, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("micro", [1, 2, 4, 9])
def test_the_ranks_together_serve_what_one_process_serves(step: int, size: int, micro: int) -> None:
    wanted = [number % 7 for number in range(5 * step, 5 * step + 5)]
    ranks = [source(micro=micro, rank=rank, size=size) for rank in range(size)]
    assert list(chain.from_iterable(served(made, step) for made in ranks)) == wanted
    batches = [made.batches(step) for made in ranks]
    assert len({len(found) for found in batches}) == 1, "as many micro-batches on every rank"
    assert max(len(batch["inputs"]) for found in batches for batch in found) <= micro
    assert sum(batch.tokens for found in batches for batch in found) == 5 * 4


def test_steps_need_not_be_asked_for_in_order() -> None:
    forwards, backwards = source(), source()
    wanted = [served(forwards, step) for step in range(6)]
    assert [served(backwards, step) for step in reversed(range(6))] == wanted[::-1]
    assert source().state_dict() == {}


def test_epochs_roll_over_inside_a_step() -> None:
    assert served(source(), 1) == [5, 6, 0, 1, 2]
    assert source().epochs(7) == pytest.approx(5.0)
    assert source().epochs(1) == pytest.approx(5 / 7)


def test_a_rank_without_rows_counts_nothing_and_pulls_at_nothing() -> None:
    made = source(step=1, rank=1, size=2)
    [batch] = made.batches(0)
    objective = Causal()
    assert objective.counts(batch) == {"next_token": 0}
    assert batch.tokens == 0
    roots, _ = objective.example()
    accumulate(objective, [batch], roots, {"next_token": 1.0}, {"next_token": 10})
    assert all(float(p.grad.abs().max()) == 0.0 for p in roots["policy"].parameters())


def test_random_choices_depend_on_seed_epoch_and_row_alone() -> None:
    class Drawing(Causal):
        def prepare(self, record, rng):  # type: ignore[no-untyped-def]
            self.drawn.append(int(rng.integers(1 << 40)))
            return record

    def drawn(seed: int, rank: int, size: int, step: int) -> list[int]:
        objective = Drawing()
        objective.drawn = []
        here = World(rank, size, torch.device("cpu"))
        StoredSource(Rows(example_rows(0)), objective, 8, 3, seed, here).batches(step)
        return objective.drawn

    assert drawn(0, 0, 2, 1) + drawn(0, 1, 2, 1) == drawn(0, 0, 1, 1)
    assert drawn(0, 0, 1, 1) != drawn(1, 0, 1, 1)
    assert len(set(drawn(0, 0, 1, 0) + drawn(0, 0, 1, 3))) == 16, "another epoch draws anew"
