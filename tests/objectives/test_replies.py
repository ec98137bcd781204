"""Replies as tensors: what is a target, where the last token stands, and that padding is nobody's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatwright.data.groups import Group, Reply
from chatwright.data.packing import IGNORE
from chatwright.objectives.replies import collate_replies, example_groups, targets_mask


def reply(ids: list[int], start: int, **numbers: float) -> Reply:
    values = np.arange(len(ids) - start, dtype=np.float32) + 1
    return Reply(np.array(ids), start, numbers, {"advantages": values})


def test_the_tokens_of_replies_are_targets_and_the_prompts_are_not() -> None:
    batch = collate_replies(
        [Group((reply([5, 6, 7, 8], 2), reply([5, 6, 9], 2))), Group((reply([3, 4], 1),))]
    )
    assert batch["inputs"].tolist() == [[5, 6, 7, 8], [5, 6, 9, 0], [3, 4, 0, 0]]
    x = IGNORE
    assert batch["targets"].tolist() == [[x, 7, 8, x], [x, 9, x, x], [4, x, x, x]]
    assert batch["advantages"].tolist() == [[0, 1, 2, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert (batch["last"].tolist(), batch["group"].tolist()) == ([3, 2, 1], [0, 0, 1])
    assert batch.tokens == 9
    assert targets_mask(batch).sum() == 4


def test_numbers_of_replies_are_one_each() -> None:
    batch = collate_replies(
        [Group((reply([1, 2], 1, rank=1.0, margin=0.5), reply([1, 3], 1, rank=0.0, margin=0.0)))]
    )
    assert (batch["rank"].tolist(), batch["margin"].tolist()) == ([1.0, 0.0], [0.5, 0.0])
    assert batch["rank"].dtype == torch.float32


def test_a_group_that_is_not_real_counts_nothing() -> None:
    batch = collate_replies([Group((reply([5, 6, 7], 1),)).blank(), Group((reply([3, 4], 1),))])
    assert (batch["targets"][0] == IGNORE).all()
    assert batch.tokens == 2


@pytest.mark.parametrize("count", [1, 3])
def test_examples_are_uneven(count: int) -> None:
    groups = example_groups(count, numbers=("margin",), tokens=("advantages",))
    assert len({group.longest for group in groups}) > 3
    assert all({"rank", "margin"} == r.numbers.keys() for group in groups for r in group.replies)
    assert all(len(r.tokens["advantages"]) == len(r.ids) - r.start for group in groups for r in group.replies)
