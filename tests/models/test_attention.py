"""Every kernel against a plain reference, and what attention may not see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from chatwright.models.attention import KERNELS, Attention, attend, band_mask, causal_mask
from chatwright.models.positions import rotary_table


def reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention one head and one query at a time, in float64."""
    out = torch.zeros_like(q)
    for b in range(q.size(0)):
        for h in range(q.size(1)):
            shared = h // (q.size(1) // k.size(1))
            for t in range(q.size(2)):
                scores = k[b, shared] @ q[b, h, t] / math.sqrt(q.size(3))
                if mask is not None:
                    row = mask[b, t] if mask.dim() == 3 else mask[t]
                    scores = torch.where(row, scores, -math.inf)
                out[b, h, t] = torch.softmax(scores, 0) @ v[b, shared]
    return out


def drawn(heads: int, kv_heads: int, length: int, keys: int | None = None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(heads * 100 + length)
    shapes = [(2, heads, length, 8), (2, kv_heads, keys or length, 8), (2, kv_heads, keys or length, 8)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def documents(length: int) -> Tensor:
    """Two rows: three documents, and one with padding behind it."""
    first = torch.arange(length) * 3 // length
    second = torch.where(torch.arange(length) < length - length // 3, 0, -1)
    return torch.stack([first, second])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 2), (4, 1)])
@pytest.mark.parametrize("length", [1, 3, 7, 16, 21])
def test_every_kernel_is_attention(
    kernel: str, segmented: bool, heads: int, kv_heads: int, length: int
) -> None:
    tensors = [t.float().requires_grad_() for t in drawn(heads, kv_heads, length)]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    mask = causal_mask(length, documents(length) if segmented else None, torch.device("cpu"))
    wanted, found = reference(*exact, mask), attend(*tensors, mask, kernel)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted.backward(slope)
    found.backward(slope.float())
    for mine, right in zip(tensors, exact, strict=True):
        torch.testing.assert_close(mine.grad.double(), right.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("masked", [False, True])
def test_more_keys_than_queries_as_with_a_cache(kernel: str, masked: bool) -> None:
    q, k, v = drawn(4, 2, length=8, keys=13)
    mask = causal_mask(13, None, torch.device("cpu"))[-8:] if masked else None
    torch.testing.assert_close(attend(q, k, v, mask, kernel), reference(q, k, v, mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_bfloat16_stays_near(kernel: str) -> None:
    q, k, v = drawn(4, 2, 16)
    mask = causal_mask(16, None, torch.device("cpu"))
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, kernel)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), reference(q, k, v, mask), rtol=0.05, atol=0.05)


def test_the_mask_is_causal_and_keeps_documents_apart() -> None:
    segments = torch.tensor([[0, 0, 1, 1, -1]])
    wanted = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    assert causal_mask(5, segments, torch.device("cpu"))[0].int().tolist() == wanted
    assert causal_mask(3, None, torch.device("cpu")).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_attention_sees_relative_positions_only() -> None:
    """Rotary positions: shifting all positions changes nothing (Su et al. 2021, equation 16)."""
    torch.manual_seed(0)
    part = Attention(width=32, heads=4, kv_heads=2, head_dim=8, eps=1e-6)
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 6, 32)
    mask = causal_mask(6, None, x.device)
    at_zero = part(x, rotary_table(torch.arange(6), 8, 1e4), mask, "plain")
    at_forty = part(x, rotary_table(torch.arange(6) + 40, 8, 1e4), mask, "plain")
    torch.testing.assert_close(at_zero, at_forty, rtol=1e-4, atol=1e-5)
    reversed_order = part(x, rotary_table(5 - torch.arange(6), 8, 1e4), mask, "plain")
    assert not torch.allclose(at_zero, reversed_order, atol=1e-3)


def test_a_band_leaves_the_nearest_places() -> None:
    places = torch.arange(4)
    causal = causal_mask(4, None, torch.device("cpu"))
    wanted = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert band_mask(causal, places, places, 2).int().tolist() == [wanted]
    both_ways = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert band_mask(None, places, places, 2).int().tolist() == [both_ways]
    assert band_mask(None, places[3:], places, 2).int().tolist() == [[[0, 0, 1, 1]]]
    rows = torch.stack([places, places * 2])
    assert band_mask(causal, rows, rows, 2).int().tolist() == [wanted, torch.eye(4).int().tolist()]


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_keeps_to_a_band(kernel: str) -> None:
    q, k, v = drawn(4, 2, 16)
    places = torch.arange(16)
    mask = band_mask(causal_mask(16, None, q.device), places, places, 3)
    torch.testing.assert_close(
        attend(q, k, v, mask, kernel), reference(q, k, v, mask.expand(2, -1, -1)), rtol=1e-5, atol=1e-5
    )
