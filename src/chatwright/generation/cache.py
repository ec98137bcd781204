"""The key-value cache: what attention has seen, so that a new token costs one position.

Rows of different lengths end at the same slot: a shorter row has empty slots before its first token. So every row
writes to one slot, which is a slice and not a scatter.

Shape suffixes: B batch, T new positions, S seen positions, K key-value heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Keys and values of every layer, [B, K, capacity, D] each, allocated ahead and grown by doubling.

    `length` is the number of slots in use. `append` is what attention calls, layer after layer; the last layer's call
    moves `length` on.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (rows, kv_heads, max(1, capacity), head_dim)
        self._keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.length = 0

    @property
    def rows(self) -> int:
        return self._keys[0].size(0)

    @property
    def capacity(self) -> int:
        return self._keys[0].size(2)

    def append(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions of a layer. Returns all its keys and values so far, [B, K, S, D], as views."""
        new = k_BKTD.size(2)
        end = self.length + new
        if end > self.capacity:
            self.reserve(end)
        keys, values = self._keys[layer], self._values[layer]
        keys.narrow(2, self.length, new).copy_(k_BKTD)
        values.narrow(2, self.length, new).copy_(v_BKTD)
        if layer == len(self._keys) - 1:
            self.length = end
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def claim(self, new: int) -> tuple[list[Tensor], list[Tensor]]:
        """Count `new` positions as used, for the caller to write to; returns the keys and the values of every layer."""
        self.reserve(self.length + new)
        self.length += new
        return self._keys, self._values

    def reserve(self, slots: int) -> None:
        """Make room for `slots` positions, at least doubling."""
        if slots > self.capacity:
            self._reshape(self.rows, max(slots, 2 * self.capacity), None)

    def keep(self, rows_B: Tensor) -> None:
        """Keep these rows, in this order; a row may come more than once. rows: [B'] integers."""
        self._reshape(rows_B.numel(), self.capacity, rows_B)

    def _reshape(self, rows: int, capacity: int, chosen: Tensor | None) -> None:
        for tensors in (self._keys, self._values):
            for layer, old in enumerate(tensors):
                used = old.narrow(2, 0, self.length)
                fresh = old.new_empty(rows, old.size(1), capacity, old.size(3))
                fresh.narrow(2, 0, used.size(2)).copy_(
                    used if chosen is None else used.index_select(0, chosen)
                )
                tensors[layer] = fresh
