"""The clipped policy gradient: which side is cut, how tokens are weighed, and what is watched of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.data.groups import Group, Reply
from chatwright.errors import UserError
from chatwright.objectives.contract import Batch
from chatwright.objectives.policy import ClippedPolicy, PolicyOptions, clipped_losses, k3
from chatwright.objectives.replies import collate_replies, example_groups, targets_mask
from chatwright.training.loop import accumulate, global_counts
from helpers.work import alone


def slope(ratio: float, advantage: float, low: float = 0.2, high: float = 0.2) -> float:
    """d loss / d ratio."""
    ratios = torch.tensor([ratio], requires_grad=True)
    clipped_losses(ratios, torch.tensor([advantage]), low, high).sum().backward()
    assert ratios.grad is not None
    return float(ratios.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "wanted"),
    [
        (1.3, 2.0, 0.0),  # likelier already, and it should be: enough
        (1.3, -2.0, 2.0),  # likelier although it should not be: pull it back
        (0.7, 2.0, -2.0),  # less likely although it should not be: pull it back
        (0.7, -2.0, 0.0),  # less likely already, and it should be: enough
        (1.1, 2.0, -2.0),
        (1.1, -2.0, 2.0),
        (0.9, 2.0, -2.0),
        (0.9, -2.0, 2.0),
    ],
)
def test_only_what_has_moved_far_enough_the_right_way_is_cut(
    ratio: float, advantage: float, wanted: float
) -> None:
    assert slope(ratio, advantage) == wanted


def test_both_bounds_are_their_own() -> None:
    assert (slope(1.25, 1.0, 0.2, 0.28), slope(1.29, 1.0, 0.2, 0.28)) == (-1.0, 0.0)
    assert (slope(0.81, -1.0, 0.2, 0.28), slope(0.79, -1.0, 0.2, 0.28)) == (1.0, 0.0)
    assert (slope(0.75, -1.0, 0.3, 0.1), slope(1.15, 1.0, 0.3, 0.1)) == (1.0, 0.0)


def test_the_loss_is_the_larger_of_both() -> None:
    ratios, advantages = torch.tensor([1.5, 1.5, 0.5, 0.5]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert clipped_losses(ratios, advantages, 0.2, 0.2).tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8])


def test_k3_is_never_negative_and_zero_at_zero() -> None:
    points = torch.linspace(-4, 4, 8001)
    assert float(k3(points).min()) >= 0
    assert float(k3(points / 1000).min()) >= 0
    assert float(k3(torch.zeros(1))) == 0.0
    tiny = torch.tensor([1e-3, -1e-3, 1e-4])
    assert k3(tiny).tolist() == pytest.approx(
        (tiny.double() ** 2 / 2 + tiny.double() ** 3 / 6).tolist(), rel=5e-3
    )
    x = torch.tensor([0.3], requires_grad=True)
    k3(x).sum().backward()
    assert float(x.grad) == pytest.approx(math.exp(0.3) - 1)


def test_k3_estimates_the_divergence() -> None:
    """Its mean under π is KL(π ‖ other) exactly."""
    logs, other = (torch.randn(5, generator=torch.Generator().manual_seed(n)).log_softmax(0) for n in (0, 1))
    exact = (logs.exp() * (logs - other)).sum()
    assert float((logs.exp() * k3(other - logs)).sum()) == pytest.approx(float(exact), rel=1e-5)


def groups(
    count: int = 5, tokens: tuple[str, ...] = ("advantages", "old_logprobs", "reference_logprobs")
) -> list[Group]:
    made = example_groups(replies=2, count=count, tokens=tokens)
    return [
        replace(group, shared=False, replies=tuple(replace(r, tokens={n: v * 0.2 - 4.1 * (n != "advantages") for n, v in r.tokens.items()}) for r in group.replies))
        for group in made
    ]  # fmt: skip


def terms_of(objective: ClippedPolicy, batch: Batch) -> dict[str, torch.Tensor]:
    roots, _ = objective.example()
    [terms] = objective.passes(roots, batch)
    return terms


def by_hand(batch: Batch, temperature: float = 1.0) -> dict[str, torch.Tensor]:
    """Log-probabilities and entropies of all positions, from logits."""
    model = ClippedPolicy().example()[0]["policy"]
    logs = (model(batch["inputs"], outputs=("logits",))["logits"] / temperature).log_softmax(-1)
    chosen = logs.gather(2, batch["targets"].clamp(min=0)[..., None]).squeeze(2)
    return {"logprobs": chosen.detach(), "entropy": -(logs.exp() * logs).sum(-1).detach()}


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("normalise", ["tokens", "replies", "constant"])
@pytest.mark.parametrize("ratio", ["token", "reply"])
def test_terms_are_sums_over_the_tokens_of_replies(normalise: Any, ratio: Any, temperature: float) -> None:
    options = PolicyOptions(
        clip=0.1, clip_high=0.3, normalise=normalise, ratio=ratio, kl=0.1, entropy=0.01, length=7,
        temperature=temperature,
    )  # fmt: skip
    objective, batch = ClippedPolicy(options), collate_replies(groups())
    found, mask, own = terms_of(objective, batch), targets_mask(batch), by_hand(batch, temperature)
    wanted = dict.fromkeys(found, 0.0)
    for row in range(len(mask)):
        places = mask[row].nonzero().squeeze(1).tolist()
        logs = [float(own["logprobs"][row, t] - batch["old_logprobs"][row, t]) for t in places]
        mean = sum(logs) / len(logs)
        weight = {"tokens": 1.0, "replies": 1 / len(places), "constant": 1 / 7}[normalise]
        for place, log in zip(places, logs, strict=True):
            log = mean if ratio == "reply" else log
            rho, gain = math.exp(log), float(batch["advantages"][row, place])
            wanted["policy"] += weight * max(-gain * rho, -gain * min(max(rho, 0.9), 1.3))
            away = float(batch["reference_logprobs"][row, place] - own["logprobs"][row, place])
            wanted["kl"] += math.exp(away) - away - 1
            wanted["entropy"] += float(own["entropy"][row, place])
            wanted["entropy_bonus"] -= float(own["entropy"][row, place])
            wanted["approx_kl"] += rho - log - 1
            wanted["clip_share"] += rho < 0.9 or rho > 1.3
    assert {name: float(value.detach()) for name, value in found.items()} == pytest.approx(
        wanted, rel=1e-3, abs=1e-3
    )
    assert wanted["clip_share"] > 0
    replies, tokens = len(mask), int(mask.sum())
    counts = dict.fromkeys(found, tokens)
    assert objective.counts(batch) == {**counts, "policy": tokens if normalise == "tokens" else replies}
    assert objective.weights(0).keys() == found.keys()


def test_what_stands_at_padding_and_prompt_counts_nothing() -> None:
    objective = ClippedPolicy(PolicyOptions(kl=0.1, entropy=0.01))
    batch = collate_replies(groups())
    mask = targets_mask(batch)
    poisoned = {
        name: torch.where(mask, batch[name], torch.full_like(batch[name], 7.0))
        for name in ("advantages", "old_logprobs", "reference_logprobs")
    }
    poisoned["inputs"] = torch.where(mask | mask.roll(1, 1) | (batch["inputs"] > 0), batch["inputs"], 9)
    found = terms_of(objective, replace(batch, tensors={**batch.tensors, **poisoned}))
    right = terms_of(objective, batch)
    for name, value in right.items():
        assert float(found[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5), name


def test_metrics_pull_at_nothing() -> None:
    found = terms_of(ClippedPolicy(PolicyOptions(kl=0.1, entropy=0.01)), collate_replies(groups()))
    moves = {name for name, value in found.items() if value.requires_grad}
    assert moves == {"policy", "kl", "entropy_bonus"}


def gradient_of(objective: ClippedPolicy, batch: Batch) -> torch.Tensor:
    roots, _ = objective.example()
    totals = global_counts(objective, [batch], alone())
    accumulate(objective, [batch], roots, objective.weights(0), totals)
    return torch.cat([p.grad.reshape(-1) for p in roots["policy"].parameters()])


def test_one_step_on_policy_is_plain_policy_gradient() -> None:
    """Without old log-probabilities the ratio is 1, and its gradient that of −Σ A log π."""
    objective, batch = ClippedPolicy(), collate_replies(groups(tokens=("advantages",)))
    terms = terms_of(objective, batch)
    mask = targets_mask(batch)
    assert float(terms["policy"].detach()) == pytest.approx(
        -float((batch["advantages"] * mask).sum()), rel=1e-5
    )
    assert float(terms["approx_kl"]) == 0.0
    model = objective.example()[0]["policy"]
    logs = model(batch["inputs"], targets=batch["targets"])["logprobs"]
    (-(logs * batch["advantages"]).sum() / mask.sum()).backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    found = gradient_of(objective, batch)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize("ratio", ["token", "reply"])
def test_a_group_in_balance_has_no_loss_and_a_gradient(ratio: Any) -> None:
    """Two replies of one length, advantages +1 and −1: the loss says nothing about progress."""
    rng = np.random.default_rng(3)
    made = [
        Reply(
            np.concatenate([[1, 2], rng.integers(3, 60, 4)]), 2, {}, {"advantages": np.full(4, a, np.float32)}
        )
        for a in (1.0, -1.0)
    ]
    objective, batch = ClippedPolicy(PolicyOptions(ratio=ratio)), collate_replies([Group((r,)) for r in made])
    assert float(terms_of(objective, batch)["policy"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(gradient_of(objective, batch).norm()) > 0.01


def test_a_group_of_equal_rewards_has_no_gradient() -> None:
    made = groups(tokens=("advantages",))
    equal = [replace(g, replies=tuple(replace(r, tokens={"advantages": r.tokens["advantages"] * 0}) for r in g.replies)) for g in made]  # fmt: skip
    assert float(gradient_of(ClippedPolicy(), collate_replies(equal)).abs().max()) == 0.0


def test_a_positive_advantage_makes_its_tokens_likelier() -> None:
    batch = collate_replies(groups(tokens=("advantages",)))
    batch = replace(batch, tensors={**batch.tensors, "advantages": targets_mask(batch).float()})
    objective = ClippedPolicy()
    roots, _ = objective.example()
    model = roots["policy"]
    before = model(batch["inputs"], targets=batch["targets"])["logprobs"].sum().detach()
    accumulate(objective, [batch], roots, objective.weights(0), objective.counts(batch))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    after = model(batch["inputs"], targets=batch["targets"])["logprobs"].sum().detach()
    assert float(after) > float(before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip": 0.0}, r"objective\.clip=0\.0 must be more than 0"),
        ({"clip_high": -1.0}, r"objective\.clip_high=-1\.0"),
        ({"kl": -0.1}, r"objective\.kl=-0\.1"),
        ({"entropy": -0.1}, r"objective\.entropy=-0\.1"),
        ({"temperature": 0.0}, r"objective\.temperature"),
        ({"length": 0}, r"objective\.length"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PolicyOptions(**options)
