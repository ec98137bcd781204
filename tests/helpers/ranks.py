"""Real gloo processes for one function, from a server that has imported torch already."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import socket
import traceback
from multiprocessing.context import ForkServerContext
from typing import Any

_PATIENCE_SECONDS = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def on_ranks(function: str, size: int, *arguments: Any) -> list[Any]:
    """`function` is `module:name` in a module that can be imported; returns what it gave on every rank."""
    context = multiprocessing.get_context("forkserver")
    assert isinstance(context, ForkServerContext)
    # the last two are what an optimizer and deterministic algorithms import when they are first used
    context.set_forkserver_preload(["torch", "helpers.work", "torch._dynamo", "torch._inductor.config"])
    results, port = context.Queue(), free_port()
    processes = [
        context.Process(target=_run, args=(function, rank, size, port, arguments, results), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        found: dict[int, Any] = {}
        while len(found) < size:
            rank, value, failure = results.get(timeout=_PATIENCE_SECONDS)
            assert failure is None, f"rank {rank}: {failure}"
            found[rank] = pickle.loads(value)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    return [found[rank] for rank in range(size)]


def _run(function: str, rank: int, size: int, port: int, arguments: tuple[Any, ...], results: Any) -> None:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{key: str(value) for key, value in places.items()}}
    os.environ["OMP_NUM_THREADS"] = "1"
    module, _, name = function.partition(":")
    try:
        import torch

        torch.set_num_threads(1)
        value = getattr(importlib.import_module(module), name)(*arguments)
        # as bytes: torch would pass tensors by handles of a process that is about to end
        results.put((rank, pickle.dumps(value), None))
    except BaseException:
        results.put((rank, None, traceback.format_exc()))
    results.close()
    results.join_thread()
