"""The encoder: who sees whom, what padding may not change, and what the language head says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.encoder import Encoder, EncoderOptions
from helpers.weights import stirred

SHAPE = EncoderOptions(vocab_size=40, width=24, layers=2, heads=3, feed_forward=32, context=32)
LENGTH = 10


def model(**changes: object) -> Encoder:
    return stirred(Encoder(replace(SHAPE, **changes))).eval()  # type: ignore[arg-type]


def inputs(rows: int = 2, seed: int = 0) -> Tensor:
    return torch.randint(0, 40, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(encoder: Encoder, ids: Tensor, **how: Tensor | bool | None) -> Tensor:
    return encoder(ids, outputs=("logits",), **how)["logits"]


def changed_at(ids: Tensor, place: int) -> Tensor:
    other = ids.clone()
    other[:, place] = (other[:, place] + 1) % 40
    return other


def moved(a: Tensor, b: Tensor) -> list[bool]:
    """At which positions of the first row the logits differ."""
    return ((a - b)[0].abs().amax(-1) > 1e-5).tolist()


def test_every_position_sees_both_sides() -> None:
    encoder, ids = model(), inputs()
    for place in (0, 4, 9):
        assert all(moved(logits(encoder, ids), logits(encoder, changed_at(ids, place))))


@pytest.mark.parametrize("kernel", ["plain", "split2", "split4", "sdpa"])
@pytest.mark.parametrize("segmented", [False, True])
def test_with_causal_nothing_leaks_from_later_positions(kernel: str, segmented: bool) -> None:
    """One trunk for next-token and masked terms: the first is causal, the second is not."""
    encoder, ids = model(), inputs()
    encoder.kernel = kernel
    segments = torch.zeros_like(ids) if segmented else None
    before = logits(encoder, ids, causal=True, segments=segments)
    after = logits(encoder, changed_at(ids, 4), causal=True, segments=segments)
    assert moved(before, after) == [False] * 4 + [True] * 6
    both = logits(encoder, ids, segments=segments), logits(encoder, changed_at(ids, 4), segments=segments)
    assert all(moved(*both))


@pytest.mark.parametrize("causal", [False, True])
def test_documents_in_one_row_do_not_see_each_other(causal: bool) -> None:
    encoder, ids = model(), inputs()
    segments = torch.tensor([[0] * 4 + [1] * 4 + [-1] * 2]).expand(2, -1)
    before = logits(encoder, ids, segments=segments, causal=causal)
    for place, seen in ((2, range(4)), (6, range(4, 8)), (9, range(8, 10))):
        after = logits(encoder, changed_at(ids, place), segments=segments, causal=causal)
        first = place if causal else 0
        assert moved(before, after) == [at in seen and at >= first for at in range(LENGTH)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["plain", "split2", "sdpa"])
def test_padding_left_or_right_changes_nothing(dtype: torch.dtype, kernel: str) -> None:
    encoder, ids = model(), inputs()
    encoder.kernel, encoder.compute_dtype = kernel, dtype
    short, junk = ids[:, :6], ids[:, 6:]
    wanted = ("hidden", "pooled")
    targets = torch.full_like(short, 5)
    with torch.no_grad():
        alone = encoder(short, targets=targets, outputs=(*wanted, "logprobs"))
        real = torch.arange(LENGTH) < 6
        for side in (real, real.flip(0)):
            row = torch.cat([short, junk] if bool(side[0]) else [junk, short], 1)
            filled = torch.full_like(row, IGNORE).masked_scatter(side, targets)
            places = (side.long().cumsum(0) - 1).clamp(min=0)
            padded = encoder(
                row,
                targets=filled,
                segments=torch.where(side, 0, -1).expand(2, -1),
                positions=places,
                outputs=(*wanted, "logprobs"),
            )
            near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
            torch.testing.assert_close(padded["hidden"][:, side], alone["hidden"], **near)
            torch.testing.assert_close(padded["pooled"], alone["pooled"], **near)
            torch.testing.assert_close(padded["logprobs"][:, side], alone["logprobs"], **near)
            assert not padded["logprobs"][:, ~side].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_of_padding_only_stays_finite(dtype: torch.dtype, kernel: str, causal: bool) -> None:
    encoder, ids = model(), inputs()
    encoder.kernel, encoder.compute_dtype = kernel, dtype
    segments = torch.zeros_like(ids)
    segments[1] = -1
    nothing = torch.ones(2, LENGTH, LENGTH, dtype=torch.bool)
    nothing[1] = False
    for how in ({"segments": segments, "causal": causal}, {"mask": nothing}):
        out = encoder(ids, targets=ids, outputs=("hidden", "pooled", "logprobs", "entropy"), **how)
        assert all(bool(value.isfinite().all()) for value in out.values())
        encoder.zero_grad()
        (out["logprobs"].sum() + out["pooled"].float().sum()).backward()
        assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("kernel", ["split2", "split4", "sdpa"])
@pytest.mark.parametrize("causal", [False, True])
def test_kernels_agree(kernel: str, causal: bool) -> None:
    encoder, ids = model(), inputs()
    wanted = logits(encoder, ids, causal=causal)
    own_mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().expand(2, -1, -1)
    encoder.kernel = kernel
    torch.testing.assert_close(logits(encoder, ids, causal=causal), wanted, rtol=1e-4, atol=1e-4)
    if causal:
        torch.testing.assert_close(logits(encoder, ids, mask=own_mask), wanted, rtol=1e-4, atol=1e-4)


def test_types_and_positions_are_read() -> None:
    encoder, ids = model(), inputs()
    zeros = torch.zeros_like(ids)
    plain = logits(encoder, ids)
    assert torch.equal(logits(encoder, ids, types=zeros, positions=torch.arange(LENGTH)), plain)
    assert not torch.allclose(logits(encoder, ids, types=zeros + 1), plain)
    assert not torch.allclose(logits(encoder, ids, positions=torch.arange(LENGTH) + 1), plain)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_whole_table_and_so_are_gradients(temperature: float) -> None:
    ids = inputs()
    targets = ids.masked_fill(torch.arange(LENGTH) % 3 > 0, IGNORE)
    gradients = []
    for chunked in (True, False):
        encoder = model()
        if chunked:
            out = encoder(ids, targets=targets, outputs=("logprobs", "entropy"), temperature=temperature)
            logprobs, entropy = out["logprobs"], out["entropy"]
        else:
            table = encoder(ids, outputs=("logits",), temperature=temperature)["logits"].log_softmax(-1)
            real = targets != IGNORE
            logprobs = table.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * real
            entropy = -(table.exp() * table).sum(-1) * real
        (logprobs.sum() + 0.3 * entropy.sum()).backward()
        gradients.append(
            ({n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}, logprobs.detach())
        )
    (mine, said), (whole, right) = gradients
    torch.testing.assert_close(said, right, rtol=1e-4, atol=1e-5)
    assert mine.keys() == whole.keys()
    for name, wanted in whole.items():
        torch.testing.assert_close(mine[name], wanted, rtol=1e-3, atol=1e-4, msg=name)
    assert float(mine["language.bias"].abs().max()) > 0.01


def test_no_target_is_no_gradient_but_a_whole_graph() -> None:
    encoder, ids = model(), inputs()
    out = encoder(ids, targets=torch.full_like(ids, IGNORE), outputs=("logprobs",))["logprobs"]
    out.sum().backward()
    assert not out.any()
    assert all(p.grad is None or not p.grad.any() for p in encoder.parameters())


def test_first_weights_are_drawn_from_the_generator_alone() -> None:
    first, second, other = (Encoder(SHAPE) for _ in range(3))
    for encoder, seed in ((first, 1), (second, 1), (other, 2)):
        encoder.initialize(torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)
    assert all(bool(p.isfinite().all()) for p in first.parameters())
    assert torch.equal(first.blocks[0].attention_norm.weight, torch.ones(24))
    near_even = first(inputs(), targets=inputs(), outputs=("logprobs",))["logprobs"].detach()
    assert float(near_even.mean()) == pytest.approx(-torch.tensor(40.0).log().item(), abs=0.3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layers": 0}, "model.layers=0 must be at least 1"),
        ({"heads": 5}, "model.heads=5 does not divide model.width=24"),
    ],
)
def test_impossible_shapes_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SHAPE, **wrong)  # type: ignore[arg-type]


def test_operations_are_those_of_its_matrices() -> None:
    encoder = Encoder(SHAPE)
    matrices = sum(p.numel() for b in encoder.blocks for p in b.parameters() if p.dim() == 2)
    assert encoder.flops_per_token(0, learnt=0.0) == 2 * matrices
    assert encoder.flops_per_token(0) - 2 * matrices == 2 * 24 * (24 + 40)
    assert encoder.compilable() == list(encoder.blocks)
