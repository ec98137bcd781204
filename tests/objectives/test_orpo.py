"""ORPO: the chosen replies' tokens, and the odds over the rejected ones, each counted its own way."""

from __future__ import annotations

import math

import pytest
import torch

from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.orpo import ORPO, ORPOOptions, log_odds
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from helpers.preferred import ranking, terms_of


def test_odds_are_those_of_the_mean_probability() -> None:
    chances = torch.tensor([0.5, 0.8, 0.2])
    assert log_odds(chances.log()).tolist() == pytest.approx([0.0, math.log(4), -math.log(4)], abs=1e-6)
    certain = torch.zeros(1, requires_grad=True)
    log_odds(certain).sum().backward()
    assert log_odds(certain).isfinite().all()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


def test_its_terms_are_those_of_the_paper() -> None:
    model, group = tiny_decoder(), ranking(0, 3, 7)
    better, worse = reply_logprobs(model, collate_replies([group])).tolist()
    odds = [math.exp(m) / (1 - math.exp(m)) for m in (better / 3, worse / 7)]
    terms = terms_of(ORPO(), model, [group])
    assert terms["next_token"] == pytest.approx(-better / 3, rel=1e-5)
    assert terms["odds_ratio"] == pytest.approx(-math.log(odds[0] / (odds[0] + odds[1])), rel=1e-4)
    assert terms["chosen_reward"] == pytest.approx(math.log(odds[0]), rel=1e-4)
    assert terms["accuracy"] == float(odds[0] > odds[1])
    assert ORPO(ORPOOptions(weight=0.3)).weights(0)["odds_ratio"] == 0.3


def test_tokens_of_the_chosen_and_rankings_are_counted_apart() -> None:
    objective = ORPO()
    tied = ranking(2, 4, 4, 4).replies
    ranks = (1.0, 0.0, 0.0)
    last = Group(tuple(Reply(r.ids, r.start, {"rank": k}) for r, k in zip(tied, ranks, strict=True)))
    batch = objective.collate([ranking(0, 3, 7), ranking(1, 5, 2), last, last.blank()])
    assert batch["chosen"].tolist() == [True, False, True, False, *([False, True, True] * 2)]
    counts = objective.counts(batch)
    assert (counts["next_token"], counts["odds_ratio"], counts["accuracy"]) == (3 + 5 + 8, 3, 3)


def test_its_weight_is_checked() -> None:
    with pytest.raises(UserError, match=r"objective\.weight=0 must be more than 0; without it, run sft"):
        ORPOOptions(weight=0)
