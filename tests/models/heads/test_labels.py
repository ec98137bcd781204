"""Heads over states: known answers, and what of a row they read."""

from __future__ import annotations

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.heads.labels import (
    CHOICE,
    NEXT_SENTENCE,
    SPAN,
    HeadOptions,
    LabelHead,
    numbered,
    pool,
    real_of,
)

HIDDEN = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [5.0, 7.0], [9.0, 9.0]]])


@pytest.mark.parametrize(
    ("real", "cls", "last", "mean"),
    [
        ([1, 1, 1, 1], [1.0, 0.0], [9.0, 9.0], [4.5, 4.5]),
        ([1, 1, 0, 0], [1.0, 0.0], [3.0, 2.0], [2.0, 1.0]),
        ([0, 1, 1, 0], [3.0, 2.0], [5.0, 7.0], [4.0, 4.5]),
    ],
)
def test_pooling_reads_real_tokens_only(
    real: list[int], cls: list[float], last: list[float], mean: list[float]
) -> None:
    mask = torch.tensor([real], dtype=torch.bool)
    assert pool(HIDDEN, mask, "cls").tolist() == [cls]
    assert pool(HIDDEN, mask, "last").tolist() == [last]
    assert pool(HIDDEN, mask, "mean").tolist() == [mean]


def test_a_row_of_padding_pools_to_something_finite() -> None:
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert all(bool(pool(HIDDEN, nothing, how).isfinite().all()) for how in ("cls", "last", "mean"))  # type: ignore[arg-type]


def test_the_mean_of_bfloat16_states_is_computed_in_float32() -> None:
    states = torch.full((1, 1000, 1), 1.0078125, dtype=torch.bfloat16)
    mean = pool(states, torch.ones(1, 1000, dtype=torch.bool), "mean")
    assert mean.dtype == torch.float32
    assert float(mean) == 1.0078125


def test_what_is_real_is_what_segments_number() -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    assert real_of(ids, None).tolist() == [[True, True, True]]
    assert real_of(ids, torch.tensor([[0, 4, -1]])).tolist() == [[True, True, False]]


def test_a_label_head_is_a_linear_map_in_float32() -> None:
    head = LabelHead(2, HeadOptions("sequence", ("a", "b", "c")))
    head.initialize(torch.Generator().manual_seed(0))
    assert not head.bias.any()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        head.bias.copy_(torch.tensor([0.0, 1.0, -2.0]))
    out = head(torch.tensor([[2.0, 3.0]], dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    assert out.tolist() == [[2.0, 4.0, 3.0]]


def test_heads_have_as_many_numbers_as_they_mean() -> None:
    assert [NEXT_SENTENCE.numbers, SPAN.numbers, CHOICE.numbers, numbered(7).numbers] == [2, 2, 1, 7]
    assert [HeadOptions("regression").numbers, HeadOptions("regression", ("x", "y")).numbers] == [1, 2]
    assert numbered(3, "token").labels == ("0", "1", "2")


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="a head of the kind token needs labels"):
        HeadOptions("token")
    with pytest.raises(UserError, match="a head of the kind span has no labels"):
        HeadOptions("span", ("a",))
