"""DPO and its losses: known values, the identities of the first step, and what a sum and a mean tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Objective
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.preference import DPO, DPOOptions, preference_losses
from chatwright.objectives.replies import collate_replies
from helpers.preferred import ranking, referenced, terms_of


def losses(margins: Sequence[float], **options: object) -> list[float]:
    return preference_losses(torch.tensor(margins), **options).tolist()  # type: ignore[arg-type]


def gradient(objective: Objective[Group], model: Decoder, groups: list[Group]) -> torch.Tensor:
    model.zero_grad()
    (terms,) = objective.passes({"policy": model}, objective.collate(groups))
    terms["dpo"].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_losses_have_their_published_values() -> None:
    # β m = 0.1 × 10 = 1
    assert losses([10.0], beta=0.1) == pytest.approx([math.log(1 + math.exp(-1))])
    assert losses([10.0], beta=0.1, smoothing=0.2) == pytest.approx(
        [0.8 * math.log(1 + math.exp(-1)) + 0.2 * math.log(1 + math.exp(1))]
    )
    assert losses([10.0], beta=0.1, loss="robust", smoothing=0.2) == pytest.approx(
        [(0.8 * math.log(1 + math.exp(-1)) - 0.2 * math.log(1 + math.exp(1))) / 0.6]
    )
    assert losses([2.0, 10.0, 12.0], beta=0.1, loss="hinge") == pytest.approx([0.8, 0.0, 0.0])
    # 1 / 2β = 5
    assert losses([5.0, 3.0, -1.0], beta=0.1, loss="ipo") == pytest.approx([0.0, 4.0, 36.0])
    assert losses([0.0], beta=0.3) == pytest.approx([math.log(2)])


def test_robust_is_right_in_the_mean_over_swapped_pairs() -> None:
    margin, swapped = 7.0, 0.3
    options = {"beta": 0.2, "loss": "robust", "smoothing": swapped}
    [right], [wrong] = losses([margin], **options), losses([-margin], **options)
    assert (1 - swapped) * right + swapped * wrong == pytest.approx(losses([margin], beta=0.2)[0], rel=1e-5)


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
def test_the_first_loss_is_ln_2_and_rewards_are_0(beta: float) -> None:
    model = tiny_decoder()
    groups = referenced([ranking(0, 3, 5), ranking(1, 8, 2), ranking(2, 4, 4)], model)
    terms = terms_of(DPO(DPOOptions(beta=beta)), model, groups)
    assert terms["dpo"] == pytest.approx(math.log(2), abs=1e-6)
    assert terms["chosen_reward"] == pytest.approx(0, abs=1e-5)
    assert terms["rejected_reward"] == pytest.approx(0, abs=1e-5)


def test_what_is_watched_is_what_it_is_called() -> None:
    policy, reference = tiny_decoder(), tiny_decoder(seed=3)
    [group] = referenced([ranking(0, 3, 5)], reference)
    terms = terms_of(DPO(), policy, [group])
    ours, theirs = (reply_logprobs(m, collate_replies([group])).tolist() for m in (policy, reference))
    chosen, rejected = (0.1 * (a - b) for a, b in zip(ours, theirs, strict=True))
    assert terms["chosen_logprob"] == pytest.approx(ours[0], rel=1e-5)
    assert terms["rejected_logprob"] == pytest.approx(ours[1], rel=1e-5)
    assert terms["chosen_reward"] == pytest.approx(chosen, rel=1e-4)
    assert terms["rejected_reward"] == pytest.approx(rejected, rel=1e-4)
    assert terms["accuracy"] == float(chosen > rejected)
    assert terms["dpo"] == pytest.approx(math.log1p(math.exp(rejected - chosen)), rel=1e-4)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "robust"])
def test_an_identical_pair_gives_no_gradient(loss: str) -> None:
    model, reply = tiny_decoder(), Reply(np.array([5, 6, 7, 8]), 2, {"rank": 0.0})
    twin = Reply(reply.ids, 2, {"rank": 1.0})
    objective = DPO(DPOOptions(loss=loss, smoothing=0.1 if loss == "robust" else 0.0))  # type: ignore[arg-type]
    [same], [other] = (
        referenced([Group((reply, worse))], model) for worse in (twin, ranking(0, 2, 2).replies[1])
    )
    assert gradient(objective, model, [other]).norm() > 1e-2
    assert gradient(objective, model, [same]).norm() < 1e-5 * gradient(objective, model, [other]).norm()


def test_the_gradient_raises_the_better_reply_and_lowers_the_worse() -> None:
    model = tiny_decoder()
    groups = referenced([ranking(0, 4, 4)], model)
    slope = gradient(DPO(), model, groups)
    with torch.no_grad():
        for parameter, part in zip(
            model.parameters(), slope.split([p.numel() for p in model.parameters()]), strict=True
        ):
            parameter -= 1e-3 * part.view_as(parameter)
    after = terms_of(DPO(), model, groups)
    assert after["chosen_reward"] > 0 > after["rejected_reward"]
    assert after["dpo"] < math.log(2)
    assert after["accuracy"] == 1


def test_a_swapped_pair_mirrors_accuracy_and_rewards() -> None:
    policy, reference = tiny_decoder(), tiny_decoder(seed=3)
    groups = referenced([ranking(n, 3 + n, 5) for n in range(5)], reference)
    swapped = [Group((_ranked(g.replies[0], 1.0), _ranked(g.replies[1], 0.0))) for g in groups]
    found, mirrored = (terms_of(DPO(), policy, rows) for rows in (groups, swapped))
    assert 0 < found["accuracy"] < 1
    assert mirrored["accuracy"] == pytest.approx(1 - found["accuracy"])
    assert mirrored["chosen_reward"] == pytest.approx(found["rejected_reward"], rel=1e-5)
    assert mirrored["chosen_logprob"] == pytest.approx(found["rejected_logprob"], rel=1e-5)


def _ranked(reply: Reply, rank: float) -> Reply:
    return Reply(reply.ids, reply.start, {**reply.numbers, "rank": rank})


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_log_probabilities_are_summed_and_not_averaged(loss: str) -> None:
    """With equal log-probabilities a token, a reply of twice the length is twice as unlikely."""
    model = tiny_decoder()
    with torch.no_grad():
        model.embedding.weight.zero_()
    group = ranking(0, 3, 6)
    group = Group(tuple(Reply(r.ids, r.start, {**r.numbers, "reference": 0.0}) for r in group.replies))
    margin = 3 * math.log(64)
    terms = terms_of(DPO(DPOOptions(loss=loss)), model, [group])  # type: ignore[arg-type]
    assert terms["chosen_logprob"] == pytest.approx(-3 * math.log(64), rel=1e-5)
    wanted = (margin - 5) ** 2 if loss == "ipo" else math.log1p(math.exp(-0.1 * margin))
    assert terms["dpo"] == pytest.approx(wanted, rel=1e-5)


def test_a_ranking_counts_once_whatever_its_length() -> None:
    policy, reference = tiny_decoder(), tiny_decoder(seed=3)
    two, four = referenced([ranking(0, 3, 5), ranking(1, 3, 5, 2, 4)], reference)
    objective = DPO()
    batch = objective.collate([two, four, four.blank()])
    assert set(objective.counts(batch).values()) == {2}
    assert batch["share"].tolist() == pytest.approx([1.0] + [1 / 6] * 6)
    pairs = [
        Group((four.replies[i], _ranked(four.replies[j], 9.0))) for i in range(4) for j in range(i + 1, 4)
    ]
    alone = terms_of(objective, policy, [four])
    assert alone == pytest.approx(terms_of(objective, policy, pairs), rel=1e-4)


def test_a_blank_group_counts_nothing() -> None:
    group = referenced([ranking(0, 3, 5)], tiny_decoder())[0]
    objective = DPO()
    batch = objective.collate([group.blank()])
    assert set(objective.counts(batch).values()) == {0}
    (terms,) = objective.passes({"policy": tiny_decoder()}, batch)
    assert all(float(value.detach()) == 0 for value in terms.values())


def test_padding_and_order_change_nothing() -> None:
    policy, reference = tiny_decoder(), tiny_decoder(seed=3)
    groups = referenced([ranking(n, 2 + n, 6 - n) for n in range(4)], reference)
    wanted = terms_of(DPO(), policy, groups)
    assert terms_of(DPO(), policy, groups[::-1]) == pytest.approx(wanted, rel=1e-5)
    alone = [terms_of(DPO(), policy, [group]) for group in groups]
    assert sum(t["dpo"] for t in alone) / 4 == pytest.approx(wanted["dpo"], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": 0}, r"objective\.beta=0 must be more than 0"),
        ({"smoothing": 0.5}, r"objective\.smoothing=0\.5 must be from 0 to below 0\.5"),
        ({"loss": "ipo", "smoothing": 0.1}, "has no meaning with objective.loss=ipo"),
        ({"loss": "robust"}, r"loss=robust needs objective\.smoothing="),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        DPOOptions(**options)  # type: ignore[arg-type]
