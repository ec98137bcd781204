"""Chunked log-probabilities against the whole table: values, entropy and both gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.models.heads import language
from chatwright.models.heads.language import token_logprobs


def whole_table(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    table = (hidden @ weight.T).float().log_softmax(-1)
    ignored = targets == IGNORE
    chosen = table.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return chosen.masked_fill(ignored, 0.0), -(table.exp() * table).sum(-1).masked_fill(ignored, 0.0)


def drawn(rows: int, length: int, ignore_every: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * length)
    hidden = torch.randn(rows, length, 12, generator=generator)
    weight = torch.randn(29, 12, generator=generator)
    targets = torch.randint(0, 29, (rows, length), generator=generator)
    targets.view(-1)[::ignore_every] = IGNORE
    return hidden, weight, targets


@pytest.fixture(params=[4, 7, 1024])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Sizes that do and do not divide the number of positions."""
    monkeypatch.setattr(language, "CHUNK", request.param)
    return int(request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 8), (3, 9), (1, 28)])
@pytest.mark.parametrize("entropy", [False, True])
def test_values_and_gradients_are_the_whole_tables(rows: int, length: int, entropy: bool) -> None:
    hidden, weight, targets = drawn(rows, length, ignore_every=3)
    pairs = [(hidden.clone().requires_grad_(), weight.clone().requires_grad_()) for _ in range(2)]
    found = token_logprobs(*pairs[0], targets, entropy)
    wanted = whole_table(*pairs[1], targets)
    slopes = torch.randn(2, rows, length, generator=torch.Generator().manual_seed(5))
    assert (found[1] is not None) == entropy
    for (mine, right), slope in zip(zip(found, wanted, strict=True), slopes, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-5)
            (mine * slope).sum().backward(retain_graph=True)
            (right * slope).sum().backward(retain_graph=True)
    for mine, right in zip(pairs[0], pairs[1], strict=True):
        torch.testing.assert_close(mine.grad, right.grad, rtol=1e-4, atol=1e-5)


def test_only_the_entropy_is_asked_to_move() -> None:
    hidden, weight, targets = drawn(2, 5)
    pairs = [(hidden.clone().requires_grad_(), weight.clone().requires_grad_()) for _ in range(2)]
    token_logprobs(*pairs[0], targets, True)[1].sum().backward()
    whole_table(*pairs[1], targets)[1].sum().backward()
    for mine, right in zip(pairs[0], pairs[1], strict=True):
        torch.testing.assert_close(mine.grad, right.grad, rtol=1e-4, atol=1e-5)


def test_no_target_at_all_is_zero_with_a_zero_gradient() -> None:
    hidden, weight, targets = drawn(2, 3, ignore_every=1)
    hidden.requires_grad_()
    weight.requires_grad_()
    logprobs, entropy = token_logprobs(hidden, weight, targets, entropy=True)
    assert torch.equal(logprobs, torch.zeros(2, 3))
    assert torch.equal(entropy, torch.zeros(2, 3))
    (logprobs.sum() + entropy.sum()).backward()
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_bfloat16_stays_within_its_precision() -> None:
    hidden, weight, targets = drawn(4, 16)
    pairs = [
        (hidden.bfloat16().requires_grad_(), weight.clone().requires_grad_()),
        (hidden.clone().requires_grad_(), weight.clone().requires_grad_()),
    ]
    rough, exact = token_logprobs(*pairs[0], targets)[0], whole_table(*pairs[1], targets)[0]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.05)
    rough.sum().backward()
    exact.sum().backward()
    assert pairs[0][0].grad.dtype == torch.bfloat16
    assert pairs[0][1].grad.dtype == torch.float32
    for mine, right in zip(pairs[0], pairs[1], strict=True):
        distance = (mine.grad.float() - right.grad).norm() / right.grad.norm()
        assert float(distance) < 0.02


def test_chances_sum_to_one() -> None:
    hidden, weight, _ = drawn(1, 1)
    every = torch.arange(29)
    logprobs, _ = token_logprobs(hidden.view(1, -1).expand(29, -1), weight, every)
    assert float(logprobs.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_huge_logits_do_not_overflow() -> None:
    hidden, weight, targets = drawn(2, 5)
    logprobs, entropy = token_logprobs(hidden * 1e4, weight, targets, entropy=True)
    assert torch.isfinite(logprobs).all()
    assert torch.isfinite(entropy).all()


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("entropy", [False, True])
def test_a_bias_is_added_to_the_logits_and_learns(entropy: bool) -> None:
    hidden, weight, targets = drawn(3, 9)
    bias = torch.randn(29, generator=torch.Generator().manual_seed(8))
    sides = [[value.clone().requires_grad_() for value in (hidden, weight, bias)] for _ in range(2)]
    h, w, b = sides[0]
    logprobs, entropies = token_logprobs(h, w, targets, entropy, b)
    (logprobs.sum() + (0.0 if entropies is None else entropies.sum())).backward()
    h, w, b = sides[1]
    # a bias is a column of the weight under an input that is always 1
    wide = torch.cat([h, torch.ones(3, 9, 1)], -1), torch.cat([w, b[:, None]], 1)
    right = whole_table(*wide, targets)
    (right[0].sum() + (right[1].sum() if entropy else 0.0)).backward()
    torch.testing.assert_close(logprobs, right[0], rtol=1e-5, atol=1e-5)
    for mine, wanted in zip(*sides, strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, rtol=1e-4, atol=1e-5)


def test_a_bias_stays_exact_under_bfloat16() -> None:
    hidden, weight, targets = (
        torch.zeros(1, 4, 12).bfloat16(),
        torch.zeros(29, 12),
        torch.tensor([[0, 1, 2, 3]]),
    )
    bias = torch.linspace(100.0, 101.0, 29)
    found, _ = token_logprobs(hidden, weight, targets, bias_V=bias)
    torch.testing.assert_close(found[0], bias.log_softmax(0)[:4])
