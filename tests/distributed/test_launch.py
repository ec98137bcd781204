"""Real processes over gloo: collectives, and a step that does not depend on how many there are."""

from __future__ import annotations

import pytest
import torch

from chatwright.distributed.launch import _buckets, world
from helpers.ranks import on_ranks
from helpers.work import alone, train


def test_collectives() -> None:
    first, second = on_ranks("helpers.work:collectives", 2)
    for found in (first, second):
        assert found["sum"] == {"a": 2.0, "b": 2.0**54}
        assert found["shared"] == {"from": 0}
        assert found["used"] == [3.0] * 3
        assert found["unused"] == [[5.0, 5.0]] * 2, "a gradient that one rank lacks counts as zero there"
    for name, value in first["weights"].items():
        assert (value == second["weights"][name]).all()


def test_alone_everything_is_its_own_sum() -> None:
    here = alone()
    assert here.leads
    assert here.sum({"a": 1.5}) == {"a": 1.5}
    assert here.share([1]) == [1]
    here.wait()
    assert world() == here
    parameter = torch.nn.Parameter(torch.ones(2))
    here.sum_gradients([parameter])
    assert parameter.grad is None


@pytest.mark.parametrize(("rows", "micro"), [(12, 12), (11, 2), (7, 3)])
def test_three_steps_on_two_ranks_are_the_steps_of_one(rows: int, micro: int) -> None:
    """Uneven rows, and a rank that has fewer of them: the same weights, on both ranks, as one process."""
    alone_found = train("causal", rows_per_step=rows)
    ranks = on_ranks("helpers.work:train", 2, "causal", "muon", 3, micro, rows)
    for found in ranks:
        for mine, wanted in zip(found["steps"], alone_found["steps"], strict=True):
            assert mine["terms"] == pytest.approx(wanted["terms"], rel=1e-5)
            assert mine["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=1e-4)
            assert mine["tokens"] == wanted["tokens"]
        for name, value in alone_found["weights"]["policy"].items():
            torch.testing.assert_close(found["weights"]["policy"][name], value, rtol=1e-4, atol=1e-5)
    for name, value in ranks[0]["weights"]["policy"].items():
        assert torch.equal(value, ranks[1]["weights"]["policy"][name]), name


def test_a_rank_without_any_row_stays_equal() -> None:
    ranks = on_ranks("helpers.work:train", 2, "chat", "adamw", 3, 1, 1)
    wanted = train("chat", "adamw", rows_per_step=1)
    for name, value in ranks[0]["weights"]["policy"].items():
        assert torch.equal(value, ranks[1]["weights"]["policy"][name]), name
        torch.testing.assert_close(value, wanted["weights"]["policy"][name], rtol=1e-4, atol=1e-5)


def test_buckets_hold_every_parameter_once_in_order() -> None:
    sizes = [1, 20_000_000, 3, 9_000_000, 8_000_000, 5]
    parameters = [torch.nn.Parameter(torch.empty(size, device="meta")) for size in sizes]
    buckets = _buckets(parameters)
    assert [p.numel() for bucket in buckets for p in bucket] == sizes
    assert [[p.numel() for p in bucket] for bucket in buckets] == [
        [1], [20_000_000], [3, 9_000_000], [8_000_000, 5],
    ]  # fmt: skip
