"""The supervised-chat objective: who is learnt from, and stretched prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE, Packed
from chatwright.errors import UserError
from chatwright.objectives.causal import example_rows, tiny_decoder
from chatwright.objectives.chat import ChatOptions, SupervisedChat, stretched


def conversation_row() -> Packed:
    """Two conversations of 10 and 8 positions, each with 4 learnt ones at its end, and 2 of padding."""
    segments = np.array([0] * 10 + [1] * 8 + [-1] * 2, dtype=np.int32)
    targets = np.full(20, IGNORE)
    targets[6:10] = targets[14:18] = 5
    return Packed(np.arange(20), targets, segments)


def test_gaps_stand_in_the_prompt_and_never_in_the_reply() -> None:
    row = conversation_row()
    totals = set()
    for seed in range(60):
        steps = np.diff(stretched(row, 5, np.random.default_rng(seed)), prepend=-1)
        assert (steps >= 1).all()
        assert (steps[[0, 7, 8, 9, 10, 15, 16, 17, 18, 19]] == 1).all()
        assert steps.max() <= 1 + 3 * 5
        totals.add(int(steps.sum()))
    assert len(totals) > 5
    assert 20 in totals


def test_stretching_is_drawn_from_the_generator_alone() -> None:
    row, objective = conversation_row(), SupervisedChat(ChatOptions(stretch=9))
    first, again, other = (
        objective.prepare(row, np.random.default_rng(seed)).positions for seed in (1, 1, 2)
    )
    assert first is not None
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert SupervisedChat().prepare(row, np.random.default_rng(1)) is row
    with pytest.raises(UserError, match=r"objective\.stretch=-1"):
        ChatOptions(stretch=-1)


def test_stretched_positions_reach_the_model() -> None:
    rows = example_rows(learnt_from=3)
    plain, moved = SupervisedChat(), SupervisedChat(ChatOptions(stretch=9))
    model = tiny_decoder()
    losses = []
    for objective in (plain, moved):
        prepared = [objective.prepare(row, np.random.default_rng((0, i))) for i, row in enumerate(rows)]
        (terms,) = objective.passes({"policy": model}, objective.collate(prepared))
        losses.append(terms["next_token"])
    assert torch.isfinite(losses[1])
    assert abs(losses[0] - losses[1]) > 1e-3


def test_the_same_shift_of_a_whole_conversation_changes_nothing() -> None:
    row, model, objective = example_rows(learnt_from=3)[0], tiny_decoder(), SupervisedChat()
    shifted = Packed(row.inputs, row.targets, row.segments, np.arange(len(row.inputs)) + 7)
    losses = [
        next(objective.passes({"policy": model}, objective.collate([r])))["next_token"]
        for r in (row, shifted)
    ]
    assert torch.allclose(*losses, rtol=1e-5)
