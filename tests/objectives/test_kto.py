"""KTO: the value of single replies against a baseline that has no gradient and that a group shares."""

from __future__ import annotations

import math

import pytest
import torch

from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.kto import KTO, KTOOptions
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from helpers.preferred import ranking, referenced, terms_of


def group_of(seed: int, wanted: list[int], reference: Decoder, shift: float = 0.0) -> Group:
    """Labelled replies and as many strangers; `shift` is taken from the strangers' reference."""
    made = referenced([ranking(seed, *range(3, 3 + 2 * len(wanted)))], reference)[0].replies
    replies = []
    for at, (reply, label) in enumerate(zip(made, [*wanted, *wanted], strict=True)):
        stranger = at >= len(wanted)
        moved = reply.numbers["reference"] - (shift if stranger else 0.0)
        numbers = {"wanted": float(label), "stranger": float(stranger), "reference": moved}
        replies.append(Reply(reply.ids, reply.start, numbers))
    return Group(tuple(replies))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_first_loss_is_half_the_weight_and_rewards_are_0() -> None:
    model = tiny_decoder()
    groups = [group_of(0, [1, 0, 0], model), group_of(1, [1, 1, 0], model)]
    terms = terms_of(KTO(), model, groups)
    assert terms["kto"] == pytest.approx(0.5, abs=1e-6)
    assert terms["baseline"] == pytest.approx(0.0, abs=1e-5)
    assert terms["chosen_reward"] == pytest.approx(0.0, abs=1e-5)
    weighed = terms_of(KTO(KTOOptions(desirable=2.0, undesirable=1.0)), model, groups)
    assert weighed["kto"] == pytest.approx((3 * 1.0 + 3 * 0.5) / 6, abs=1e-6)


def test_its_loss_is_that_of_the_paper() -> None:
    policy, reference = tiny_decoder(), tiny_decoder(seed=3)
    group = group_of(0, [1, 0, 1], reference)
    ours = reply_logprobs(policy, collate_replies([group])).tolist()
    ratios = [a - reply.numbers["reference"] for a, reply in zip(ours, group.replies, strict=True)]
    baseline = max(0.0, sum(ratios[3:]) / 3)
    for shift in (0.0, 30.0, -30.0):
        z = max(0.0, sum(ratios[3:]) / 3 + shift)
        o = KTOOptions(beta=0.2, desirable=1.5, undesirable=0.7)
        terms = terms_of(KTO(o), policy, [group_of(0, [1, 0, 1], reference, shift)])
        wanted = [1.5 * (1 - sigmoid(0.2 * (ratios[n] - z))) for n in (0, 2)]
        unwanted = 0.7 * (1 - sigmoid(0.2 * (z - ratios[1])))
        assert terms["baseline"] == pytest.approx(z, abs=1e-4)
        assert terms["kto"] == pytest.approx((sum(wanted) + unwanted) / 3, rel=1e-4)
    assert terms["chosen_reward"] == pytest.approx(0.2 * (ratios[0] + ratios[2]) / 2, rel=1e-4)
    assert terms["rejected_reward"] == pytest.approx(0.2 * ratios[1], rel=1e-4)
    assert terms["rejected_logprob"] == pytest.approx(ours[1], rel=1e-5)
    assert terms["accuracy"] == ((ratios[0] > ratios[1]) + (ratios[2] > ratios[1])) / 2
    assert baseline >= 0


def test_the_baseline_has_no_gradient() -> None:
    """Strangers move the loss, and the gradient is that of the labelled replies at a fixed baseline."""
    model, objective = tiny_decoder(), KTO()
    batch = objective.collate([group_of(0, [1, 0], model, shift=20.0)])
    assert not objective.baselines(model, batch).requires_grad
    (terms,) = objective.passes({"policy": model}, batch)
    terms["kto"].backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    z = float(objective.baselines(model, batch)[0])
    assert z == pytest.approx(20.0, rel=1e-4)
    model.zero_grad()
    ratios = reply_logprobs(model, batch) - batch["reference"]
    sides = torch.tensor([1.0, -1.0])
    (1 - (0.1 * sides * (ratios - z)).sigmoid()).sum().backward()
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))


def test_each_group_has_its_own_baseline() -> None:
    model, objective = tiny_decoder(), KTO()
    near, far = group_of(0, [1, 0], model), group_of(1, [1, 0], model, shift=9.0)
    batch = objective.collate([near, far])
    assert objective.baselines(model, batch).tolist() == pytest.approx([0.0, 9.0], abs=1e-4)
    together = terms_of(objective, model, [near, far])
    alone = [terms_of(objective, model, [group]) for group in (near, far)]
    assert together["kto"] == pytest.approx(sum(t["kto"] for t in alone) / 2, rel=1e-5)


def test_every_term_is_counted_by_what_it_is_a_mean_of() -> None:
    model, objective = tiny_decoder(), KTO()
    groups = [group_of(0, [1, 0, 0], model), group_of(1, [1, 1, 1], model)]
    counts = objective.counts(objective.collate([*groups, groups[0].blank()]))
    assert counts == {
        "kto": 6,
        "accuracy": 1,
        "chosen_reward": 4,
        "rejected_reward": 2,
        "chosen_logprob": 4,
        "rejected_logprob": 2,
        "baseline": 6,
    }
    blank = objective.collate([groups[0].blank()])
    assert set(objective.counts(blank).values()) == {0}
    (terms,) = objective.passes({"policy": model}, blank)
    assert all(float(value.detach()) == 0 for value in terms.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": 0}, r"objective\.beta=0 must be more than 0"),
        ({"undesirable": -1}, r"objective\.undesirable=-1 must be more than 0"),
        ({"group": 1}, r"objective\.group=1 must be at least 2"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        KTOOptions(**options)  # type: ignore[arg-type]
