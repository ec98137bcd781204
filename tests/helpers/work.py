"""What ranks do in tests. Each function runs alone or on every rank of a gloo group, and returns plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chatwright.data.packing import Packed
from chatwright.distributed import shared_run
from chatwright.distributed.launch import World, world
from chatwright.errors import UserError
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Objective
from chatwright.registry import lookup
from chatwright.training import machine
from chatwright.training.loop import accumulate, global_counts, steps
from chatwright.training.options import LoopOptions, named
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

Arrays = dict[str, np.ndarray]


class Rows:
    """Rows held in memory; every epoch the same order."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._rows)

    def row(self, epoch: int, index: int) -> Any:
        return self._rows[index]


def objective_of(name: str) -> Objective[Any]:
    cls, options = named("objective", name)
    made: Objective[Any] = cls(options)
    return made


def gradients(name: str, micro_rows: int, rows_per_step: int = 12) -> Arrays:
    """The gradient of one step, rows shared over the ranks and cut into micro-batches."""
    objective, here = objective_of(name), world()
    roots, rows = objective.example()
    source = StoredSource(Rows(rows), objective, rows_per_step, micro_rows, 0, here)
    batches = source.batches(0)
    totals = global_counts(objective, batches, here)
    accumulate(objective, batches, roots, objective.weights(0), totals)
    parameters = [p for root in roots.values() for p in root.parameters()]
    here.sum_gradients(parameters)
    names = [f"{key}.{name}" for key, root in roots.items() for name, _ in root.named_parameters()]
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return {name: gradient.detach().numpy().copy() for name, gradient in zip(names, found, strict=True)}


def train(
    name: str,
    optimizer: str = "muon",
    count: int = 3,
    micro_rows: int = 12,
    rows_per_step: int = 12,
    clip: float = 1.0,
    state: Mapping[str, Any] | None = None,
    first: int = 0,
) -> dict[str, Any]:
    """`count` steps through the real loop, from `state` where given; weights, optimizer state and what each step said."""
    torch.use_deterministic_algorithms(True)
    objective, here = objective_of(name), world()
    roots, rows = objective.example()
    cls, options = named("optimizer", optimizer)
    made = cls(roots, options)
    if state is not None:
        for key, root in roots.items():
            root.load_state_dict(state["weights"][key])
        made.load_state_dict(state["optimizer"])
    schedule = lookup("schedule", "wsd")()
    source = StoredSource(Rows(rows), objective, rows_per_step, micro_rows, 0, here)
    loop = steps(objective, source, roots, made, lambda n: schedule.factor(n, 8), here, first, count, clip)
    said = [asdict(step) for step in loop]
    return {
        "steps": said,
        "weights": {
            key: {n: p.detach().clone() for n, p in r.state_dict().items()} for key, r in roots.items()
        },
        "optimizer": {key: value.clone() for key, value in made.state_dict().items()},
    }


def served_rows(rows_per_step: int, micro_rows: int, count: int) -> list[list[list[list[int]]]]:
    """The inputs that this rank is served: [step][micro-batch][row][position], rows without a real token left out."""
    objective, here = objective_of("causal"), world()
    source = StoredSource(Rows(numbered_rows(7)), objective, rows_per_step, micro_rows, 0, here)
    return [
        [[row for row in batch["inputs"].tolist() if batch.tokens] for batch in source.batches(step)]
        for step in range(count)
    ]


def numbered_rows(count: int) -> list[Packed]:
    return [Packed(np.full(4, n), np.full(4, n), np.zeros(4, dtype=np.int32)) for n in range(count)]


def collectives() -> dict[str, Any]:
    here = world()
    torch.manual_seed(here.rank)
    model = tiny_decoder(seed=here.rank)
    here.copy_weights({"policy": model})
    used, unused = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))
    used.grad = torch.full((3,), float(here.rank + 1))
    if here.rank:
        unused.grad = torch.full((2, 2), 5.0)
    here.sum_gradients([used, unused])
    return {
        "sum": here.sum({"a": here.rank + 0.5, "b": 2**53 + 0.0}),
        "shared": here.share({"from": here.rank}),
        "weights": {n: p.detach().numpy() for n, p in model.named_parameters()},
        "used": used.grad.tolist(),
        "unused": unused.grad.tolist(),
    }


def refused_run(directory: str) -> str:
    """What each rank is told when the run's directory is refused."""
    try:
        with shared_run.start(world(), "pretrain", directory, {}):
            return "opened"
    except UserError as error:
        return str(error)


def followed_run(directory: str) -> list[str]:
    """Every rank writes through its view of a run; only the first may leave traces."""
    here = world()
    with shared_run.start(here, "pretrain", directory, {"seed": 1}) as run:
        run.log(step=1, rank=here.rank)
        run.update(status=f"from {here.rank}")
        here.wait()
        return [path.name for path in Path(directory).iterdir()] + [run.info["status"]]


def settled(directory: str) -> list[tuple[str, str]]:
    """The precision and the kernel with which each call to `settle` finds a session on ranks that measure differently."""
    here, model, objective = world(), tiny_decoder(), objective_of("causal")
    fastest = [torch.bfloat16, torch.float32][here.rank], ["split2", "sdpa"][here.rank]
    machine.fastest_precision = lambda device: (fastest[0], {"bfloat16": 1e9, "float32": 1e9})
    machine.fastest_kernel = lambda *_: (fastest[1], {})
    found: list[tuple[str, str]] = []
    rows = Rows(numbered_rows(6))
    with shared_run.start(here, "pretrain", directory, {}) as run:
        session = Session(run, here, {"policy": model}, objective, LoopOptions(steps=1), 0.0)
        session.prepare(
            lambda micro: StoredSource(rows, objective, 4, micro, 0, here),
            4,
            4,
            {},
            lambda: None,
            settle=lambda dtype: found.append((str(dtype), model.kernel)),
        )
        here.wait()
    return found


def alone() -> World:
    return World(0, 1, torch.device("cpu"))


def uneven(rows: Sequence[Packed], sizes: Sequence[int]) -> Iterator[list[Packed]]:
    at = 0
    for size in sizes:
        yield list(rows[at : at + size])
        at += size
