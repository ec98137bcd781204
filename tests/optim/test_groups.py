"""Every weight in its group, once; states that go on where they stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import tiny_decoder
from chatwright.optim.groups import group_parameters
from chatwright.registry import table
from chatwright.training.options import named


def untied() -> Decoder:
    model = Decoder(replace(tiny_decoder().options, tied=False))
    model.initialize(torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_in_one_group(tied: bool) -> None:
    model = tiny_decoder() if tied else untied()
    groups = group_parameters({"policy": model})
    found = [*groups.matrices.parameters, *groups.tables.parameters, *groups.vectors.parameters]
    assert {id(p) for p in found} == {id(p) for p in model.parameters()}
    assert len(found) == len({id(p) for p in found})
    heads = [] if tied else ["policy.head.weight"]
    assert groups.tables.names == ["policy.embedding.weight", *heads]
    assert {p.dim() for p in groups.matrices.parameters} == {2}
    assert all("norm" in name for name in groups.vectors.names)


def test_frozen_weights_are_left_out_and_roots_keep_their_names() -> None:
    policy, value = tiny_decoder(), tiny_decoder(1)
    value.embedding.weight.requires_grad_(False)
    groups = group_parameters({"policy": policy, "value": value})
    assert groups.tables.names == ["policy.embedding.weight"]
    assert len(groups.matrices.names) == len(set(groups.matrices.names)) == 28


@pytest.mark.parametrize("name", table("optimizer"))
def test_a_saved_state_goes_on_bit_for_bit(name: str) -> None:
    def stepped(model: Decoder, optimizer: object, first: int, last: int) -> None:
        for n in range(first, last):
            generator = torch.Generator().manual_seed(n)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step(1.0 - 0.1 * n)
            optimizer.zero_grad()

    cls, options = named("optimizer", name, learning_rate=0.01)
    whole, halves = tiny_decoder(), tiny_decoder()
    stepped(whole, cls({"policy": whole}, options), 0, 4)
    before = cls({"policy": halves}, options)
    stepped(halves, before, 0, 2)
    state = {key: value.clone() for key, value in before.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    after = cls({"policy": halves}, options)
    after.load_state_dict(state)
    assert {k: v.tolist() for k, v in after.state_dict().items()} == {k: v.tolist() for k, v in state.items()}
    stepped(halves, after, 2, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))


@pytest.mark.parametrize("name", table("optimizer"))
def test_the_factor_scales_every_group(name: str) -> None:
    cls, options = named("optimizer", name)
    model = tiny_decoder()
    optimizer = cls({"policy": model}, options)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    optimizer.step(0.5)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())
