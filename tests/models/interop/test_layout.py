"""A layout's weights are read when asked for, and rotary pairs change their places there and back."""

from __future__ import annotations

import torch

from chatwright.models.interop.layout import Stored, StoredWeights, half_split, interleaved, shape_of


def test_a_stored_weight_is_read_only_when_asked_for() -> None:
    read = []

    def weight() -> torch.Tensor:
        read.append(1)
        return torch.ones(2, 3)

    weights = StoredWeights({"a": Stored((2, 3), weight)})
    assert "a" in weights and "b" not in weights and len(weights) == 1 and list(weights) == ["a"]
    assert shape_of(weights, "a") == (2, 3) and not read
    assert weights["a"].shape == (2, 3) and len(read) == 1
    assert shape_of({"a": torch.ones(4)}, "a") == (4,)


def test_neighbours_become_half_a_head_apart() -> None:
    rows = torch.arange(8.0)[:, None].expand(8, 3)
    assert half_split(rows, heads=2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert half_split(rows[:, 0], heads=1).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_interleaving_undoes_it() -> None:
    rows = torch.randn(24, 5)
    for heads in (1, 2, 3, 4):
        assert torch.equal(interleaved(half_split(rows, heads), heads), rows)
