"""The mixture of experts against a plain loop, and its balance, which is each row's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.models.decoder import Decoder
from chatwright.models.experts import Experts, Routing, balance
from helpers.decoders import DECODERS
from helpers.parity import lively


def experts_of(experts: int, per_token: int, normalized: bool = True) -> Experts:
    return lively(Experts(12, 10, Routing(experts, per_token, normalized)))


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def by_hand(part: Experts, x_W: Tensor) -> Tensor:
    """One token's way, expert by expert."""
    chances = (part.router.weight @ x_W).softmax(-1)
    chosen = chances.argsort(descending=True)[: part.routing.per_token]
    shares = chances[chosen] / (chances[chosen].sum() if part.routing.normalized else 1.0)
    made = [
        part.down.weight[e] @ (F.silu(part.gate.weight[e] @ x_W) * (part.up.weight[e] @ x_W)) for e in chosen
    ]
    return (shares[:, None] * torch.stack(made)).sum(0)


@pytest.mark.parametrize(("experts", "per_token"), [(5, 2), (4, 4), (9, 1)])
@pytest.mark.parametrize("normalized", [False, True])
def test_tokens_go_through_their_experts(experts: int, per_token: int, normalized: bool) -> None:
    part, x = experts_of(experts, per_token, normalized), drawn(3, 7, 12).requires_grad_()
    found, _ = part(x)
    wanted = torch.stack([by_hand(part, token) for token in x.flatten(0, 1)]).view(3, 7, 12)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    slope = drawn(3, 7, 12)
    mine = torch.autograd.grad(found, [x, *part.parameters()], slope)
    right = torch.autograd.grad(wanted, [x, *part.parameters()], slope)
    for one, other in zip(mine, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_an_expert_without_tokens_costs_nothing_and_has_no_slope() -> None:
    part = experts_of(6, 1)
    with torch.no_grad():
        part.router.weight.zero_()
        part.router.weight[2] = 1.0
    part(drawn(1, 9, 12).abs())[0].sum().backward()
    used = part.gate.weight.grad.flatten(1).any(dim=1)
    assert used.tolist() == [False, False, True, False, False, False]


def test_balance_is_1_for_even_use_and_grows_to_all_experts_over_a_tokens() -> None:
    even = torch.full((1, 8, 4), 0.25)
    turns = torch.arange(8).view(1, 8, 1) % 4
    assert balance(even, turns).tolist() == [1.0]
    one = F.one_hot(torch.zeros(1, 8, dtype=torch.long), 4).float()
    assert balance(one, torch.zeros(1, 8, 1, dtype=torch.long)).tolist() == [4.0]
    two = (
        F.one_hot(torch.zeros(1, 8, dtype=torch.long), 4).float() / 2
        + F.one_hot(torch.ones(1, 8, dtype=torch.long), 4) / 2
    )
    assert balance(two, torch.tensor([0, 1]).expand(1, 8, 2)).tolist() == [2.0]


def test_balance_is_the_papers_sum() -> None:
    chances = drawn(3, 7, 5).softmax(-1)
    chosen = chances.topk(2, dim=-1).indices
    real = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [False] * 7])
    wanted = []
    for row in range(3):
        kept = real[row].nonzero().flatten().tolist()
        if not kept:
            wanted.append(0.0)
            continue
        share = [sum(int(e in chosen[row, t]) for t in kept) * 5 / (2 * len(kept)) for e in range(5)]
        chance = [float(chances[row, kept, e].mean()) for e in range(5)]
        wanted.append(sum(f * p for f, p in zip(share, chance, strict=True)))
    assert balance(chances, chosen, real).tolist() == pytest.approx(wanted, rel=1e-5)


def test_balance_pushes_towards_experts_that_are_used_less() -> None:
    part, x = experts_of(4, 1), drawn(2, 40, 12) + 0.5
    with torch.no_grad():
        part.router.weight[0] += 0.3
    optimizer = torch.optim.SGD([part.router.weight], lr=0.1)
    found = []
    for _ in range(100):
        optimizer.zero_grad()
        unevenness = part(x)[1].sum()
        unevenness.backward()
        optimizer.step()
        found.append(float(unevenness.detach()) / 2)
    assert found[0] > 1.5
    assert found[-1] < 1.1


def test_another_row_changes_neither_a_rows_logits_nor_its_balance() -> None:
    model = lively(Decoder(DECODERS["qwen3-moe"])).eval()
    inputs = torch.randint(0, 64, (3, 15), generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([[0] * 15, [0] * 6 + [1] * 5 + [-1] * 4, [0] * 3 + [-1] * 12])
    wanted = ("logits", "balance")
    with torch.no_grad():
        together = model(inputs, segments=segments, outputs=wanted)
        for row in range(3):
            one = slice(row, row + 1)
            alone = model(inputs[one], segments=segments[one], outputs=wanted)
            for name in wanted:
                torch.testing.assert_close(together[name][one], alone[name], rtol=1e-4, atol=1e-4)
    assert together["balance"].shape == (3,)
    assert together["balance"].dtype == torch.float32


def test_padding_is_no_part_of_a_rows_balance() -> None:
    model = lively(Decoder(DECODERS["qwen3-moe"])).eval()
    inputs = torch.randint(0, 64, (2, 15), generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([[0] * 9 + [-1] * 6]).expand(2, -1)
    changed = torch.where(segments < 0, (inputs + 5) % 64, inputs)
    with torch.no_grad():
        short = model(inputs[:, :9], outputs=("balance",))["balance"]
        padded, other = (
            model(x, segments=segments, outputs=("balance",))["balance"] for x in (inputs, changed)
        )
        blank = model(inputs, segments=torch.full_like(inputs, -1), outputs=("balance",))["balance"]
    torch.testing.assert_close(padded, short, rtol=1e-5, atol=1e-5)
    assert torch.equal(padded, other)
    assert blank.tolist() == [0.0, 0.0]
    assert bool((short >= 0.5 * model.options.layers).all())
