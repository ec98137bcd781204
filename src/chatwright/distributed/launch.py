"""The processes of a run: one, or as many as `torchrun` started.

    torchrun --nproc-per-node 8 -m chatwright pretrain …

gloo on CPUs, nccl on GPUs. Gradients are summed, never averaged: the loop has divided by global counts already.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

_BUCKET_ELEMENTS = 16_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers over all processes, in float64; every process must bring the same names."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        total = total.to(self.device) if dist.get_backend() == "nccl" else total
        dist.all_reduce(total)
        return dict(zip(values, total.tolist(), strict=True))

    def share(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, values: Sequence[T]) -> list[T]:
        """The values of all processes one after another, on every process."""
        if self.size == 1:
            return list(values)
        boxes: list[list[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(boxes, list(values))
        return [value for box in boxes for value in box]

    def wait(self) -> None:
        """Return when every process is here."""
        if self.size > 1:
            dist.barrier()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the gradients of all processes, in place; a missing gradient counts as zero."""
        if self.size == 1:
            return
        for bucket in _buckets(list(parameters)):
            flat = torch.cat([_gradient(p).reshape(-1) for p in bucket])
            dist.all_reduce(flat)
            for parameter, part in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                parameter.grad = part.view_as(parameter)

    def copy_weights(self, roots: Mapping[str, nn.Module]) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for name in sorted(roots):
                for tensor in roots[name].state_dict().values():
                    dist.broadcast(tensor, src=0)


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    filled = _BUCKET_ELEMENTS
    for parameter in parameters:
        if filled + parameter.numel() > _BUCKET_ELEMENTS:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += parameter.numel()
    return buckets


@cache
def world() -> World:
    """Join the process group that `torchrun` describes in the environment; alone without it."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    # deterministic algorithms need it, and CUDA reads it once
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if size > 1:
        _share_threads(int(os.environ.get("LOCAL_WORLD_SIZE", str(size))))
        dist.init_process_group("nccl" if on_gpu else "gloo")
    return World(rank, size, device)


def _share_threads(local_size: int) -> None:
    """`torchrun` gives each process one thread unless told; share the cores out instead."""
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // local_size))
