"""Memory in which weights stand one after the other, in the order in which they are read, in large pages where there are."""

from __future__ import annotations

import contextlib
import mmap

import torch
from torch import Tensor

_BLOCK = 1 << 26
_LINE = 64  # bytes of a line of the processor's cache


class Arena:
    """Copies of tensors, kept as long as this is: a processor that reads them in order fetches the next ahead."""

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []
        self._used = 0

    def place(self, tensor: Tensor) -> int:
        """The address of a copy, laid out in order."""
        size = -(-tensor.nbytes // _LINE) * _LINE
        if not self._blocks or self._used + size > self._blocks[-1].numel():
            self._blocks.append(_large_pages(max(size, _BLOCK)))
            self._used = 0
        place = self._blocks[-1].narrow(0, self._used, tensor.nbytes)
        place.view(tensor.dtype).view(tensor.shape).copy_(tensor)
        self._used += size
        return place.data_ptr()


def _large_pages(size: int) -> Tensor:
    """Bytes that take memory as they are written."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
