"""Replies as tensors: what is a target, where the last token stands, and that padding is nobody's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chatwright.data.groups import Group, Reply, by_prompt, row_length
from chatwright.data.packing import IGNORE
from chatwright.objectives.orpo import ORPO
from chatwright.objectives.policy import ClippedPolicy, PolicyOptions
from chatwright.objectives.ppo import PPO
from chatwright.objectives.replies import collate_replies, example_groups, targets_mask
from chatwright.objectives.reward import PairwiseReward
from chatwright.objectives.simpo import SimPO


def reply(ids: list[int], start: int, **numbers: float) -> Reply:
    values = np.arange(len(ids) - start, dtype=np.float32) + 1
    return Reply(np.array(ids), start, numbers, {"advantages": values})


def test_the_tokens_of_replies_are_targets_and_the_prompts_are_not() -> None:
    apart = Group((reply([5, 6, 7, 8], 2), reply([5, 6, 9], 2)), shared=False)
    batch = collate_replies([apart, Group((reply([3, 4], 1),))])
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


def long_prompts(replies: int, count: int = 5, **values: tuple[str, ...]) -> list[Group]:
    """Groups whose prompts are worth sharing, one of them not real, and one whose replies have two prompts."""
    rng = np.random.default_rng(3)
    made = []
    for group in example_groups(replies, count, **values):
        prompt = rng.integers(0, 60, 9)
        longer = [replace(r, ids=np.concatenate([prompt, r.ids]), start=r.start + 9) for r in group.replies]
        made.append(Group(tuple(longer)))
    other = made[0].replies[0]
    mixed = (replace(other, ids=np.concatenate([other.ids[1:2], other.ids[1:]])), *made[0].replies[1:])
    return [Group(mixed), made[1].blank(), *made[2:]]


def gradient_and_sums(
    objective: Any, roots: dict[str, nn.Module], groups: list[Group], shared: bool
) -> tuple[dict[str, float], dict[str, int], Tensor]:
    batch = objective.collate([replace(group, shared=shared) for group in groups])
    sums: dict[str, Tensor] = {}
    for terms in objective.passes(roots, batch):
        sums |= terms
    weights = objective.weights(0)
    total = sum((weights[name] * value for name, value in sums.items() if weights[name]), torch.zeros(()))
    parameters = [p for root in roots.values() for p in root.parameters()]
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    flat = torch.cat([g.flatten() for g in gradients if g is not None])
    return {name: float(value.detach()) for name, value in sums.items()}, objective.counts(batch), flat


@pytest.mark.parametrize(
    ("objective", "tokens"),
    [
        (ClippedPolicy(PolicyOptions(kl=0.1, entropy=0.01)), ("advantages", "reference_logprobs")),
        (ORPO(), ()),
        (SimPO(), ()),
        (PairwiseReward(), ()),
        (PPO(), ("advantages", "old_values", "returns")),
    ],
)
def test_a_shared_prompt_changes_neither_a_term_nor_a_gradient(
    objective: Any, tokens: tuple[str, ...]
) -> None:
    roots, _ = objective.example()
    groups = long_prompts(3, tokens=tokens)
    one = gradient_and_sums(objective, roots, groups, shared=True)
    other = gradient_and_sums(objective, roots, groups, shared=False)
    assert one[0] == pytest.approx(other[0], rel=1e-5, abs=1e-5)
    assert one[1] == other[1]
    assert float(other[2].abs().max()) > 0
    assert float((one[2] - other[2]).abs().max()) < 1e-5 * float(other[2].abs().max())


def test_a_shared_prompt_stands_in_the_batch_once() -> None:
    groups = long_prompts(4)[2:]
    apart = [replace(group, shared=False) for group in groups]
    one, other = collate_replies(groups), collate_replies(apart)
    positions = [row_length(row) for group in groups for row in group.rows()]
    assert one.tokens == sum(positions) < 0.7 * other.tokens
    assert one["inputs"].shape == (len(groups), max(positions))
    assert [len(group.rows()) for group in apart] == [4] * len(groups)


def test_rows_that_would_grow_too_long_or_save_too_little_are_not_shared() -> None:
    long = Group(tuple(reply(list(range(700)), 500) for _ in range(6)))
    assert [len(row) for row in long.rows()] == [2, 2, 2]
    short = Group(tuple(reply(list(range(100)), 3) for _ in range(6)))
    assert [len(row) for row in short.rows()] == [1] * 6


def test_replies_are_put_together_by_their_prompts() -> None:
    replies = [reply([1, 2, 7], 2), reply([1, 3, 7], 2), reply([1, 2, 8], 2), reply([1, 2, 8], 1)]
    found = [[list(r.ids) for r in group.replies] for group in by_prompt(replies)]
    assert found == [[[1, 2, 7], [1, 2, 8]], [[1, 3, 7]], [[1, 2, 8]]]
