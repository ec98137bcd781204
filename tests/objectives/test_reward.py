"""The pairwise loss: known values, symmetries, and that neither padding nor order moves a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError
from chatwright.objectives.contract import Batch
from chatwright.objectives.replies import example_groups
from chatwright.objectives.reward import PairwiseReward, RewardOptions, last_scores, pairwise_losses
from chatwright.training.loop import accumulate, global_counts
from helpers.work import alone


class Given(nn.Module):
    """A reward model whose score of a sequence is its last token, times `scale`, plus `shift`."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0, heads: int = 1) -> None:
        super().__init__()
        self.scale, self.shift, self.heads = scale, shift, heads

    def forward(self, inputs: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        scores = (inputs.float() * self.scale + self.shift)[..., None].expand(-1, -1, self.heads)
        return {"scores": scores}


def group(*last_and_rank: tuple[int, int], margin: float = 0.0, filler: int = 1) -> Group:
    """Replies that end in the given tokens, each of another length."""
    replies = [
        Reply(np.array([7, *[filler] * (n + 1), last]), 1, {"rank": float(rank), "margin": margin})
        for n, (last, rank) in enumerate(last_and_rank)
    ]
    return Group(tuple(replies))


def told(groups: Sequence[Group], model: nn.Module, **options: Any) -> dict[str, float]:
    """The means of all terms."""
    objective = PairwiseReward(RewardOptions(**options))
    batch = objective.collate(groups)
    counts = objective.counts(batch)
    [terms] = objective.passes({"reward": model}, batch)
    return {name: float(value) / counts[name] for name, value in terms.items()}


def test_equal_rewards_cost_ln_2() -> None:
    found = told([group((5, 0), (5, 1)), group((3, 1), (3, 0))], Given())
    assert found["pairwise"] == pytest.approx(math.log(2))
    assert found["accuracy"] == 0.5, "a tie counts half"


def test_the_loss_of_a_pair() -> None:
    assert told([group((5, 0), (3, 1))], Given())["pairwise"] == pytest.approx(math.log(1 + math.exp(-2)))
    assert told([group((3, 0), (5, 1))], Given())["pairwise"] == pytest.approx(math.log(1 + math.exp(2)))


def test_a_constant_changes_nothing() -> None:
    groups = [group((5, 0), (3, 1)), group((2, 2), (4, 0), (1, 1))]
    assert told(groups, Given(shift=100.0)) == pytest.approx(told(groups, Given()), rel=1e-4)


def test_swapped_pairs_turn_the_accuracy_round() -> None:
    pairs = [(5, 3), (2, 4), (6, 1), (9, 8), (3, 3)]
    right = [group((a, 0), (b, 1)) for a, b in pairs]
    swapped = [group((a, 1), (b, 0)) for a, b in pairs]
    accuracy = told(right, Given())["accuracy"]
    assert accuracy == pytest.approx(3.5 / 5)
    assert told(swapped, Given())["accuracy"] == pytest.approx(1 - accuracy)


def test_a_margin_is_asked_for_on_top() -> None:
    groups = [group((5, 0), (3, 1), margin=1.5)]
    assert told(groups, Given())["pairwise"] == pytest.approx(math.log(1 + math.exp(-0.5)))
    assert told(groups, Given(), margins=False)["pairwise"] == pytest.approx(math.log(1 + math.exp(-2)))
    assert told(groups, Given())["accuracy"] == 1.0


def test_smoothing_believes_the_other_side_a_little() -> None:
    wanted = 0.9 * math.log(1 + math.exp(-2)) + 0.1 * math.log(1 + math.exp(2))
    assert told([group((5, 0), (3, 1))], Given(), smoothing=0.1)["pairwise"] == pytest.approx(wanted)
    assert pairwise_losses(torch.tensor(2.0), 0.1) == pytest.approx(wanted)


def test_centring_is_on_the_mean_of_each_pair() -> None:
    found = told([group((5, 0), (3, 1)), group((2, 0), (1, 1))], Given(), centre=0.01)
    assert found["centre"] == pytest.approx((4**2 + 1.5**2) / 2)


def test_a_ranking_counts_once_with_all_its_pairs() -> None:
    """All pairs of one prompt stand in one row, so that no partition separates them."""
    objective = PairwiseReward()
    ranking, pair = group((5, 0), (3, 1), (1, 2), (4, 1)), group((2, 0), (6, 1))
    batch = objective.collate([ranking, pair])
    found = set(zip(batch["better"].tolist(), batch["worse"].tolist(), strict=True))
    assert found == {(0, 1), (0, 2), (0, 3), (1, 2), (3, 2), (4, 5)}, "equal ranks are no pair"
    assert batch["share"].tolist() == pytest.approx([1 / 5] * 5 + [1.0])
    assert objective.counts(batch) == {"pairwise": 2, "accuracy": 2}
    loss = [math.log(1 + math.exp(-d)) for d in (2, 4, 1, 2, 3)]
    wanted = (sum(loss) / 5 + math.log(1 + math.exp(4))) / 2
    assert told([ranking, pair], Given())["pairwise"] == pytest.approx(wanted)


def test_what_is_not_real_or_all_tied_counts_nothing() -> None:
    objective = PairwiseReward()
    batch = objective.collate([group((5, 0), (3, 1)).blank(), group((2, 1), (6, 1))])
    assert objective.counts(batch) == {"pairwise": 0, "accuracy": 0}
    [terms] = objective.passes({"reward": Given()}, batch)
    assert {name: float(value) for name, value in terms.items()} == {"pairwise": 0.0, "accuracy": 0.0}


def scores(model: nn.Module, groups: Sequence[Group]) -> list[torch.Tensor]:
    batch = PairwiseReward().collate(groups)
    return list(last_scores(model, batch).detach())


def test_neither_padding_nor_order_moves_a_score() -> None:
    roots, groups = PairwiseReward().example()
    together = scores(roots["reward"], groups)
    alone_ = [score for g in groups for r in g.replies for score in scores(roots["reward"], [Group((r,))])]
    backwards = scores(roots["reward"], groups[::-1])
    in_order = [s for n in range(len(groups) - 1, -1, -1) for s in backwards[3 * n : 3 * n + 3]]
    for one, other, third in zip(together, alone_, in_order, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(one, third, rtol=1e-5, atol=1e-5)


def test_a_score_stands_at_the_last_token() -> None:
    groups = [group((5, 0), (9, 1)), group((8, 0), (3, 1))]
    assert [float(score) for score in scores(Given(), groups)] == [5.0, 9.0, 8.0, 3.0]


def test_the_head_is_in_float32_whatever_the_trunk_is_in() -> None:
    roots, groups = PairwiseReward().example()
    model = roots["reward"]
    model.compute_dtype = torch.bfloat16
    batch = PairwiseReward().collate([replace(group, shared=False) for group in groups])
    found = last_scores(model, batch)
    assert found.dtype == torch.float32
    hidden = model.trunk(batch["inputs"], outputs=("hidden",))["hidden"]
    exact = (hidden.double() @ model.head.weight.double().T)[torch.arange(len(found)), batch["last"]]
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def gradient(objective: PairwiseReward, batches: list[Batch]) -> torch.Tensor:
    roots, _ = objective.example()
    totals = global_counts(objective, batches, alone())
    accumulate(objective, batches, roots, objective.weights(0), totals)
    return torch.cat([p.grad.reshape(-1) for p in roots["reward"].parameters()])


@pytest.mark.parametrize("options", [{}, {"heads": 3, "centre": 0.1, "smoothing": 0.1}], ids=str)
def test_rankings_of_uneven_length_weigh_alike_however_they_are_cut(options: dict[str, Any]) -> None:
    objective = PairwiseReward(RewardOptions(**options))
    groups = [*example_groups(2, 4), *example_groups(5, 3), *example_groups(3, 3)]
    whole = gradient(objective, [objective.collate(groups)])
    for sizes in ((1, 9), (4, 3, 3), (1,) * 10):
        edges = np.cumsum([0, *sizes])
        parts = [objective.collate(groups[a:b]) for a, b in pairwise(edges)]
        assert float((gradient(objective, parts) - whole).norm() / whole.norm()) < 1e-5


def test_an_identical_pair_pulls_at_nothing() -> None:
    [one] = example_groups(1, 1)
    twice = Group((one.replies[0], Reply(one.replies[0].ids, one.replies[0].start, {"rank": 1.0})))
    objective = PairwiseReward()
    assert float(gradient(objective, [objective.collate([twice])]).abs().max()) < 1e-5


def test_heads_learn_from_resamples_of_their_own_that_never_change() -> None:
    objective = PairwiseReward(RewardOptions(heads=4))
    groups = example_groups(2, 200)
    draws = objective.collate(groups)["draws"]
    assert draws.shape == (200, 4)
    assert torch.equal(draws, objective.collate(groups)["draws"])
    assert torch.equal(objective.collate(groups[50:60])["draws"], draws[50:60]), "whatever stands beside it"
    assert float(draws.mean()) == pytest.approx(1.0, abs=0.1), "as often as drawing with replacement would"
    assert float(draws.var()) == pytest.approx(1.0, abs=0.2)
    assert float(torch.corrcoef(draws.T)[0, 1].abs()) < 0.2
    assert torch.equal(PairwiseReward().collate(groups)["draws"], torch.ones(200, 1))


@pytest.mark.parametrize(
    "options", [{"smoothing": 0.5}, {"smoothing": -0.1}, {"centre": -1.0}, {"heads": 0}], ids=str
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"objective\."):
        RewardOptions(**options)
