"""What this machine is fast at, by short measurements instead of guesses."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from chatwright.files import cpp_compiler
from chatwright.models.attention import KERNELS, attend, causal_mask

_GAIN_WORTH_LESS_PRECISION = 1.3
_KERNEL_ROUNDS = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of a few runs, after one to warm up."""
    work()
    return min(_timed(work) for _ in range(repeats))


def _timed(work: Callable[[], object]) -> float:
    _finish()
    begun = time.perf_counter()
    work()
    _finish()
    return time.perf_counter() - begun


def typical_seconds_of(work: Callable[[], object], repeats: int = 5) -> float:
    """The median of a few runs, after one to warm up: what a run of many will take."""
    work()
    return statistics.median(_timed(work) for _ in range(repeats))


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rate(dtype: torch.dtype, device: torch.device, size: int = 1024) -> float:
    """Floating-point operations a second in a matrix product of [2·size, size] by [size, size]."""
    a, b = (
        torch.randn(2 * size, size, device=device).to(dtype),
        torch.randn(size, size, device=device).to(dtype),
    )
    return 4.0 * size**3 / seconds_of(lambda: a @ b)


def fastest_precision(device: torch.device) -> tuple[torch.dtype, dict[str, float]]:
    """bfloat16 where its products are clearly faster than float32's; and both rates in FLOP/s."""
    rates = {"float32": matmul_rate(torch.float32, device), "bfloat16": matmul_rate(torch.bfloat16, device)}
    faster = rates["bfloat16"] > _GAIN_WORTH_LESS_PRECISION * rates["float32"]
    return torch.bfloat16 if faster else torch.float32, rates


def fastest_kernel(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, device: torch.device, segmented: bool
) -> tuple[str, dict[str, float]]:
    """The attention kernel with the shortest forward and backward; and the milliseconds of each.

    shape: rows, query heads, key-value heads, length, head width. `segmented`: with a mask for every row.
    """
    rows, heads, kv_heads, length, width = shape
    segments = torch.zeros(rows, length, dtype=torch.int32, device=device) if segmented else None
    mask = causal_mask(length, segments, device)
    q, k, v = (
        torch.randn(rows, count, length, width, device=device).to(dtype).requires_grad_()
        for count in (heads, kv_heads, kv_heads)
    )

    def run(kernel: str) -> None:
        attend(q, k, v, mask, kernel).sum().backward()  # type: ignore[no-untyped-call]

    for kernel in KERNELS:
        run(kernel)
    # in turn, so that a slow moment of the machine hits all of them
    rounds = [{kernel: _timed(partial(run, kernel)) for kernel in KERNELS} for _ in range(_KERNEL_ROUNDS)]
    spent = {kernel: 1000 * min(each[kernel] for each in rounds) for kernel in KERNELS}
    return min(spent, key=lambda kernel: spent[kernel]), spent


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next step, instead of giving it back and faulting it in again:
    about a fifteenth of a small model's step. Only glibc can; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_MMAP_THRESHOLD, 2**30)


def has_compiler() -> bool:
    """Whether `torch.compile` can build CPU kernels here; GPUs bring their own compiler."""
    return torch.cuda.is_available() or cpp_compiler() is not None
