"""SimPO: mean log-probabilities, a margin, no reference."""

from __future__ import annotations

import math

import pytest
import torch

from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from chatwright.objectives.simpo import SimPO, SimPOOptions
from helpers.preferred import ranking, terms_of


def test_its_loss_is_that_of_the_paper() -> None:
    model, group = tiny_decoder(), ranking(0, 3, 7)
    better, worse = reply_logprobs(model, collate_replies([group])).tolist()
    lead = 2.5 * (better / 3 - worse / 7)
    terms = terms_of(SimPO(SimPOOptions(beta=2.5, gamma=1.2)), model, [group])
    assert terms["simpo"] == pytest.approx(math.log1p(math.exp(1.2 - lead)), rel=1e-4)
    assert terms["chosen_reward"] == pytest.approx(2.5 * better / 3, rel=1e-4)
    assert terms["rejected_logprob"] == pytest.approx(worse, rel=1e-5)
    assert terms["accuracy"] == float(lead > 0)


def test_the_length_of_a_reply_does_not_matter() -> None:
    model = tiny_decoder()
    with torch.no_grad():
        model.embedding.weight.zero_()
    terms = terms_of(SimPO(), model, [ranking(0, 3, 6)])
    assert terms["chosen_reward"] == pytest.approx(-2 * math.log(64), rel=1e-5)
    assert terms["rejected_reward"] == pytest.approx(-2 * math.log(64), rel=1e-5)
    assert terms["simpo"] == pytest.approx(math.log1p(math.exp(1.0)), rel=1e-5)


def test_blank_groups_count_nothing() -> None:
    objective = SimPO()
    batch = objective.collate([ranking(0, 3, 7).blank()])
    assert set(objective.counts(batch).values()) == {0}
    (terms,) = objective.passes({"policy": tiny_decoder()}, batch)
    assert all(float(value.detach()) == 0 for value in terms.values())


def test_bad_options_are_refused() -> None:
    with pytest.raises(UserError, match=r"objective\.beta=-1 must be more than 0"):
        SimPOOptions(beta=-1)
    with pytest.raises(UserError, match=r"objective\.gamma=-1 must be 0 or more"):
        SimPOOptions(gamma=-1)
