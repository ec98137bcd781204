"""Grouped-query attention, with the kernel that is fastest for the length and the machine.

Shape suffixes: B batch, T query length, S key length, H query heads, K key-value heads, G = H / K, D head width.

Plain batched products with a mask beat PyTorch's fused CPU kernel at the lengths small models train on; past a few
hundred tokens it pays to split the causal triangle, so that the first rows skip the keys they may not see. Which
one is fastest is measured once for a run and stands in its plan.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.models.layers import Linear, RMSNorm
from chatwright.models.positions import rotate

KERNELS = ("plain", "split2", "split4", "sdpa")


class KeyValueCache(Protocol):
    """What attention needs of a cache: store this layer's new keys and values, get back all that may be seen.

    length: the positions seen before.
    """

    length: int

    def append(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]: ...


def causal_mask(length: int, segments_BT: Tensor | None, device: torch.device) -> Tensor:
    """True where a query (row) may see a key (column): not later and, with segments, in the same document.

    Returns [T, T], or [B, T, T] with segments.
    """
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    if segments_BT is None:
        return seen
    return seen & (segments_BT[:, :, None] == segments_BT[:, None, :])


def full_mask(length: int, segments_BT: Tensor | None, device: torch.device) -> Tensor | None:
    """True where a query may see a key: everywhere (None), or in the same document, [B, T, T]."""
    return None if segments_BT is None else segments_BT[:, :, None] == segments_BT[:, None, :]


def attend(
    q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Tensor | None, kernel: str = "plain"
) -> Tensor:
    """Softmax attention (Vaswani et al. 2017, section 3.2.1). Returns [B, H, T, D].

    mask: True where a key may be seen, [T, S], or [B, T, S]; None where all may. The split kernels and sdpa assume
    that a mask over as many queries as keys is causal.
    """
    if kernel == "sdpa":
        return _sdpa(q_BHTD, k_BKSD, v_BKSD, mask)
    parts = {"plain": 1, "split2": 2, "split4": 4}[kernel]
    length = q_BHTD.size(2)
    if parts == 1 or mask is None or length < 2 * parts or length != k_BKSD.size(2):
        return _plain(q_BHTD, k_BKSD, v_BKSD, mask)
    edges = [length * part // parts for part in range(parts + 1)]
    rows = [
        _plain(q_BHTD[:, :, a:b], k_BKSD[:, :, :b], v_BKSD[:, :, :b], mask[..., a:b, :b])
        for a, b in pairwise(edges)
    ]
    return torch.cat(rows, dim=2)


def _plain(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Tensor | None) -> Tensor:
    batch, heads, length, width = q_BHTD.shape
    kv_heads, keys = k_BKSD.shape[1:3]
    # Folding the group into the query axis multiplies each key once, instead of repeating it for every query head.
    q_BKXD = q_BHTD.reshape(batch, kv_heads, -1, width)
    scores = (q_BKXD @ k_BKSD.transpose(-1, -2)).view(batch, kv_heads, -1, length, keys) * width**-0.5
    if mask is not None:
        scores = scores.masked_fill(~mask.view(-1, 1, 1, length, keys), float("-inf"))
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(q_BHTD.dtype)
    out_BKXD: Tensor = weights.view(batch, kv_heads, -1, keys) @ v_BKSD
    return out_BKXD.view(batch, heads, length, width)


def _sdpa(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None and (mask.dim() == 3 or mask.size(0) != mask.size(1)):
        seen = mask.view(-1, 1, *mask.shape[-2:])
        return F.scaled_dot_product_attention(q_BHTD, k_BKSD, v_BKSD, seen, enable_gqa=True)
    return F.scaled_dot_product_attention(q_BHTD, k_BKSD, v_BKSD, is_causal=mask is not None, enable_gqa=True)


class Attention(nn.Module):
    """Grouped-query self-attention (Ainslie et al. 2023).

    normed: queries and keys are normalized in every head (Qwen3). bias: whether queries, keys and values have biases;
    output_bias: whether the output has.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        eps: float,
        normed: bool = True,
        bias: bool = False,
        output_bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.query = Linear(width, heads * head_dim, bias)
        self.key = Linear(width, kv_heads * head_dim, bias)
        self.value = Linear(width, kv_heads * head_dim, bias)
        self.output = Linear(heads * head_dim, width, output_bias)
        self.query_norm = RMSNorm(head_dim, eps) if normed else None
        self.key_norm = RMSNorm(head_dim, eps) if normed else None

    def forward(
        self,
        x_BTW: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        kernel: str,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """rotary: cosines and sines for the positions; None where positions are in x already."""
        batch, length, _ = x_BTW.shape
        q_BTHD = self.query(x_BTW).view(batch, length, self.heads, self.head_dim)
        k_BTKD = self.key(x_BTW).view(batch, length, self.kv_heads, self.head_dim)
        v_BKTD = self.value(x_BTW).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        if self.query_norm is not None and self.key_norm is not None:
            q_BTHD, k_BTKD = self.query_norm(q_BTHD), self.key_norm(k_BTKD)
        q_BHTD, k_BKTD = q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2)
        if rotary is not None:
            q_BHTD, k_BKTD = rotate(q_BHTD, *rotary), rotate(k_BKTD, *rotary)
        if cache is not None:
            k_BKTD, v_BKTD = cache.append(layer, k_BKTD, v_BKTD)
        out_BHTD = attend(q_BHTD, k_BKTD, v_BKTD, mask, kernel)
        return self.output(out_BHTD.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


def band_mask(mask: Tensor | None, queries: Tensor, keys: Tensor, band: int) -> Tensor:
    """`mask` with only the keys left that are less than `band` places from their query (Child et al. 2019).

    queries, keys: their places, [T] and [S], or [B, T] and [B, S]. mask: [T, S] or [B, T, S], or None where all is seen.
    Returns [1 or B, T, S].
    """
    near = (queries[..., :, None] - keys[..., None, :]).abs() < band
    seen = near if mask is None else mask & near
    # a square mask of two dimensions counts as the causal one in `attend`
    return seen if seen.dim() == 3 else seen[None]
