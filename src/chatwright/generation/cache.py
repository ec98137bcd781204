"""The key-value cache: what attention has seen, so that a new token costs one position.

Rows of different lengths end at the same slot: a shorter row has empty slots before its first token. So every row
writes to one slot, which is a slice and not a scatter.

Shape suffixes: L layers, B batch, T new positions, S seen positions, K key-value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_TILE = 16  # slots that the native source keeps together


def _whole(slots: int) -> int:
    """Rounded up to whole tiles."""
    return -(-slots // _TILE) * _TILE


class Cache:
    """Keys and values of every layer, [L, B, K, capacity, D] each, allocated ahead and grown by doubling.

    `length` is the number of slots in use. `append` is what attention calls, layer after layer; the last layer's call
    moves `length` on. To forget the newest slots, make `length` smaller. What runs natively has the keys of each tile of
    slots the other way round, so one cache goes one way from its beginning to its end.
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
        shape = (layers, rows, kv_heads, _whole(max(1, capacity)), head_dim)
        self._keys = torch.empty(shape, dtype=dtype, device=device)
        self._values = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0

    @property
    def rows(self) -> int:
        return self._keys.size(1)

    @property
    def capacity(self) -> int:
        return self._keys.size(3)

    @property
    def nbytes(self) -> int:
        """What it takes of the memory, once it has been full."""
        return 2 * self._keys.nbytes

    def append(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new positions of a layer. Returns all its keys and values so far, [B, K, S, D], as views."""
        new = k_BKTD.size(2)
        end = self.length + new
        self.reserve(end)
        keys, values = self._keys[layer], self._values[layer]
        keys.narrow(2, self.length, new).copy_(k_BKTD)
        values.narrow(2, self.length, new).copy_(v_BKTD)
        if layer == self._keys.size(0) - 1:
            self.length = end
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def claim(self, new: int) -> None:
        """Count `new` positions as used, for the caller to write to at `place`."""
        self.reserve(self.length + new)
        self.length += new

    def place(self, row: int) -> tuple[int, int, int, int]:
        """Where a row stands in memory: slots a head has room for, numbers from a layer to the next, and the addresses
        of the keys and the values of the first layer; good until the cache grows."""
        at = row * self._keys.stride(1) * self._keys.itemsize
        return self.capacity, self._keys.stride(0), self._keys.data_ptr() + at, self._values.data_ptr() + at

    def reserve(self, slots: int) -> None:
        """Make room for `slots` positions, at least doubling."""
        if slots > self.capacity:
            self._reshape(self.rows, _whole(max(slots, 2 * self.capacity)), None)

    def keep(self, rows_B: Tensor) -> None:
        """Keep these rows, in this order; a row may come more than once. rows: [B'] integers."""
        self._reshape(rows_B.numel(), self.capacity, rows_B)

    def take(self, other: Cache, slots: int) -> None:
        """Have the first `slots` positions of another cache of one row, and nothing else."""
        self.length = 0
        self.reserve(slots)
        used = _whole(slots)
        for mine, theirs in ((self._keys, other._keys), (self._values, other._values)):
            mine.narrow(3, 0, used).copy_(theirs.narrow(3, 0, used))
        self.length = slots

    def _reshape(self, rows: int, capacity: int, chosen: Tensor | None) -> None:
        self._keys = self._reshaped(self._keys, rows, capacity, chosen)
        self._values = self._reshaped(self._values, rows, capacity, chosen)

    def _reshaped(self, old: Tensor, rows: int, capacity: int, chosen: Tensor | None) -> Tensor:
        layers, _, kv_heads, _, head_dim = old.shape
        used = _whole(self.length)
        fresh = old.new_empty(layers, rows, kv_heads, capacity, head_dim)
        # a layer at a time: choosing rows makes a copy
        for to, of in zip(fresh.narrow(3, 0, used), old.narrow(3, 0, used), strict=True):
            to.copy_(of if chosen is None else of.index_select(0, chosen))
        return fresh


class Joined:
    """Several caches of one row each, seen as one of so many rows: shorter ones after empty slots, in copies."""

    def __init__(self, caches: Sequence[Cache]) -> None:
        self._caches = caches
        self.length = max(cache.length for cache in caches)

    @property
    def starts(self) -> list[int]:
        """The empty slots before each row."""
        return [self.length - cache.length for cache in self._caches]

    def append(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """As `Cache.append`."""
        pairs = [
            cache.append(layer, k_BKTD[row : row + 1], v_BKTD[row : row + 1])
            for row, cache in enumerate(self._caches)
        ]
        end = self.length + k_BKTD.size(2)
        keys, values = (
            torch.cat([_after_empty(one, end) for one in side]) for side in zip(*pairs, strict=True)
        )
        return keys, values


def _after_empty(seen_1KSD: Tensor, slots: int) -> Tensor:
    return F.pad(seen_1KSD, (0, 0, slots - seen_1KSD.size(2), 0))


def seen_from(
    begin: int, length: int, starts_B: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Positions of the slots [begin, begin + length), and which slots each of them sees.

    starts: a row's first slot, [B]; None where all begin at 0. Returns [T] and [T, S], or [B, T] and [B, T, S].
    """
    slots = torch.arange(begin + length, device=device)
    queries = slots[begin:]
    mask = slots <= queries[:, None]
    if starts_B is None:
        return queries, mask
    # an empty slot sees itself: a row of the mask that is all false would give NaN
    mask = (mask & (slots >= starts_B[:, None, None])) | (slots == queries[:, None])
    return (queries - starts_B[:, None]).clamp(min=0), mask


def seen_last(
    slot: int, starts_B: Tensor | None, context: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """The same of one slot alone: positions [1] or [B], and what is seen, [B, S]; None where all is."""
    if starts_B is None:
        return torch.full((1,), slot, device=device), None
    # rows that are finished but not yet gone may run past the context; nobody reads them
    positions = (slot - starts_B).clamp(max=context - 1)
    return positions, torch.arange(slot + 1, device=device) >= starts_B[:, None]
