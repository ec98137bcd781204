"""PPO's own terms: the value's clip, where values stand, and texts mixed in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.scored import ScoredDecoder
from chatwright.objectives.causal import Causal, example_rows, tiny_decoder, tiny_shape
from chatwright.objectives.ppo import PPO, PPOOptions, value_losses
from chatwright.objectives.replies import collate_replies, targets_mask
from chatwright.training.loop import accumulate, global_counts
from helpers.weights import stirred
from helpers.work import alone


@pytest.mark.parametrize(
    ("value", "old", "back", "wanted"),
    [
        (1.1, 1.0, 2.0, 0.5 * 0.9**2),  # inside the clip
        (1.5, 1.0, 2.0, 0.5 * 0.8**2),  # moved too far towards the return: as if it stood at 1.2
        (0.5, 1.0, 2.0, 0.5 * 1.5**2),  # moved away from it: the whole error
        (1.5, 1.0, 1.0, 0.5 * 0.5**2),  # past the return: the whole error
        (0.3, 1.0, 0.0, 0.5 * 0.8**2),
    ],
)
def test_the_value_loss_is_the_larger_of_both(value: float, old: float, back: float, wanted: float) -> None:
    found = value_losses(*(torch.tensor([x]) for x in (value, old, back)), 0.2)
    assert float(found) == pytest.approx(wanted)


def test_a_value_that_has_moved_far_enough_is_not_pulled_on() -> None:
    for value, wanted in ((1.5, 0.0), (1.1, -0.9), (0.5, -1.5)):
        values = torch.tensor([value], requires_grad=True)
        value_losses(values, torch.tensor([1.0]), torch.tensor([2.0]), 0.2).sum().backward()
        assert float(values.grad) == pytest.approx(wanted)


def example() -> tuple[dict[str, Any], Any]:
    roots, groups = PPO().example()
    return dict(roots), collate_replies(groups)


def test_values_are_compared_at_the_tokens_of_replies() -> None:
    roots, batch = example()
    terms: dict[str, torch.Tensor] = {}
    for found in PPO().passes(roots, batch):
        terms |= found
    values, mask = roots["value"](batch["inputs"])["scores"][..., 0].detach(), targets_mask(batch)
    rows = [(values[mask], batch["old_values"][mask], batch["returns"][mask])]
    [(new, old, back)] = rows
    bounded = old + (new - old).clamp(-0.2, 0.2)
    losses = 0.5 * torch.stack([(new - back) ** 2, (bounded - back) ** 2]).amax(0)
    assert float(terms["value"].detach()) == pytest.approx(float(losses.sum()), rel=1e-5)
    assert float(terms["value_error"]) == pytest.approx(float(((new - back) ** 2).sum()), rel=1e-5)
    assert float(terms["value_clip_share"]) == float(((new - old).abs() > 0.2).sum()) > 0
    assert terms.keys() == PPO().weights(0).keys()
    assert {name for name, value in terms.items() if value.requires_grad} == {"policy", "value"}


def test_padding_moves_no_value() -> None:
    roots, batch = example()
    mask = targets_mask(batch)
    poison = {
        n: torch.where(mask, batch[n], torch.full_like(batch[n], 9.0)) for n in ("old_values", "returns")
    }
    [_, right] = PPO().passes(roots, batch)
    [_, found] = PPO().passes(roots, replace(batch, tensors={**batch.tensors, **poison}))
    for name, value in right.items():
        assert float(found[name].detach()) == pytest.approx(float(value.detach())), name


def gradients(objective: PPO, roots: dict[str, Any], *batches: Any) -> dict[str, np.ndarray]:
    totals = global_counts(objective, list(batches), alone())
    accumulate(objective, list(batches), roots, objective.weights(0), totals)
    return {f"{key}.{n}": p.grad.numpy() for key, r in roots.items() for n, p in r.named_parameters()}


def test_the_value_loss_has_its_weight_and_its_own_root() -> None:
    once, thrice = (gradients(PPO(PPOOptions(value=w)), *example()) for w in (0.1, 0.3))
    for name, value in once.items():
        factor = 3.0 if name.startswith("value.") else 1.0
        assert (
            np.linalg.norm(thrice[name] - factor * value) <= 1e-5 * np.linalg.norm(factor * value) + 1e-9
        ), name


def test_a_head_on_the_policy_gives_what_two_roots_give() -> None:
    """One pass for both: the trunk's gradient is the sum of what a policy and a value of the same weights get."""
    _, batch = example()
    shared = stirred(ScoredDecoder(tiny_shape(), language=True))
    apart = {"policy": tiny_decoder(), "value": ScoredDecoder(tiny_shape())}
    apart["policy"].load_state_dict(shared.trunk.state_dict())
    apart["value"].load_state_dict(shared.state_dict())
    both, two = gradients(PPO(), {"policy": shared}, batch), gradients(PPO(), apart, batch)
    for name in shared.trunk.state_dict():
        wanted = two[f"policy.{name}"] + two[f"value.trunk.{name}"]
        found = both[f"policy.trunk.{name}"]
        assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted), name
    assert both["policy.head.weight"] == pytest.approx(two["value.head.weight"], rel=1e-4, abs=1e-7)


def test_texts_of_pretraining_count_for_their_own_term_alone() -> None:
    objective = PPO(PPOOptions(ptx=0.5))
    text, (roots, batch) = Causal().collate(example_rows(3)), example()
    counts = objective.counts(text)
    assert {term for term, count in counts.items() if count} == {"ptx"}
    assert counts["ptx"] == Causal().counts(text)["next_token"]
    assert objective.counts(batch)["ptx"] == 0
    [terms] = objective.passes(roots, text)
    [wanted] = Causal().passes(roots, text)
    assert float(terms["ptx"].detach()) == pytest.approx(float(wanted["next_token"].detach()))
    assert "ptx" not in PPO().weights(0)


def test_mixed_texts_add_exactly_their_gradient() -> None:
    text = Causal().collate(example_rows(3))
    roots, batch = example()
    mixed = gradients(PPO(PPOOptions(ptx=0.5)), roots, batch, text)
    plain = gradients(PPO(), *example())
    policy = tiny_decoder()
    accumulate(Causal(), [text], {"policy": policy}, {"next_token": 0.5}, Causal().counts(text))
    for name, parameter in policy.named_parameters():
        wanted = plain[f"policy.{name}"] + parameter.grad.numpy()
        assert np.linalg.norm(mixed[f"policy.{name}"] - wanted) < 1e-5 * np.linalg.norm(wanted), name


def test_texts_are_read_at_temperature_one() -> None:
    text, (roots, _) = Causal().collate(example_rows(3)), example()
    losses = [
        float(next(PPO(PPOOptions(ptx=1.0, temperature=t)).passes(roots, text))["ptx"].detach())
        for t in (0.5, 1.0)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "options", [{"value": -1.0}, {"ptx": -1.0}, {"value_clip": 0.0}, {"clip": -0.1}], ids=str
)
def test_options_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"objective\."):
        PPOOptions(**options)
