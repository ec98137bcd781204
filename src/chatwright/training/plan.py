"""The resolved plan of a run: everything that was measured or clocked, decided once and reused on resume.

Precision, attention kernel and compilation are chosen by measurement on the real model and a real batch; `minutes`
becomes seconds for steps and a first guess at their number, which the session corrects as it goes. The plan is part of what a run's result depends on, so it stands in run.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.models.root import Root
from chatwright.progress import say
from chatwright.training import machine

_COMPILE_SECONDS = 45.0
_SECONDS_BETWEEN_SAVES = 60.0
_STEPS_BETWEEN_SAVES = 20
EVALUATIONS = 5
EVALUATION_SHARE = 0.01
LOOKS = 20  # times that a run with minutes= looks at the clock again
_SPARE_SHARE = 0.02
_PROCESSOR_MICRO_TOKENS = 2048


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes from `begun` (a time.monotonic reading)."""

    steps: int | None
    minutes: float | None
    begun: float
    reserve_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise UserError("say how long to train: steps=… or minutes=…")
        if self.steps is not None and self.minutes is not None:
            raise UserError("steps= and minutes= exclude each other; give one of them")
        for name, value in (("steps", self.steps), ("minutes", self.minutes)):
            if value is not None and value <= 0:
                raise UserError(f"{name}={value} must be more than 0")

    def seconds_left(self) -> float:
        assert self.minutes is not None
        return self.minutes * 60 - (time.monotonic() - self.begun) - self.reserve_seconds


def choose_precision(wanted: str, world: World) -> dict[str, Any]:
    """`precision` and `matmul_flops` (FLOP/s): the measured choice for `auto`, or what was asked for."""
    fastest, rates = machine.fastest_precision(world.device)
    name = str(fastest).removeprefix("torch.") if wanted == "auto" else wanted
    return {"precision": name, "matmul_flops": rates[name]}


def choose_kernel(model: Root, rows: int, length: int, segmented: bool, world: World) -> dict[str, Any]:
    """`kernel`: the fastest attention for this length here, with the milliseconds of each."""
    o = model.options
    shape = (rows, o.heads, o.kv_heads, length, o.head_dim)
    kernel, spent = machine.fastest_kernel(shape, model.compute_dtype, world.device, segmented)
    return {"kernel": kernel, "kernel_milliseconds": {name: round(value, 2) for name, value in spent.items()}}


def micro_rows(rows: int, length: int, micro_tokens: int | None, device: torch.device) -> int:
    """How many of a step's rows go through the model together.

    A processor is as fast with a few thousand tokens as with more, and needs a fraction of the memory; GPUs want all.
    """
    tokens = micro_tokens or (_PROCESSOR_MICRO_TOKENS if device.type == "cpu" else rows * length)
    return min(rows, max(1, tokens // length))


def apply(models: Iterable[Root], plan: Mapping[str, Any]) -> None:
    """Set models up as the plan says."""
    torch.set_num_threads(plan["threads"])
    for model in models:
        model.compute_dtype = getattr(torch, plan["precision"])
        model.kernel = plan["kernel"]
        if plan.get("compile") and machine.has_compiler():
            compile_parts(model)
        elif plan.get("compile"):
            say(
                "  the plan compiles, but there is no C++ compiler here (install g++ or clang++): not compiled"
            )


def compile_parts(model: Root) -> None:
    """Compile the repeated parts in place."""
    for part in model.compilable():
        part.compile(dynamic=False)


def clock(
    model: Root,
    step: Callable[[], int],
    length: int,
    budget: Budget,
    compile: str,
    matmul_flops: float,
    world: World,
) -> dict[str, Any]:
    """Time whole steps; decide on compilation and on the number of steps, with `minutes` a first guess at it.

    `step()` does one throw-away step over rows of `length` and returns its tokens. Steps meet in collectives, so every
    decision is the first process's: ranks that decided for themselves would wait for each other.
    """
    tokens = step()
    eager = world.share(machine.typical_seconds_of(step))
    share = 3 * model.flops_per_token(length) * tokens / eager / matmul_flops
    planned = (
        world.share(budget.seconds_left()) if budget.minutes is not None else (budget.steps or 0) * eager
    )
    choice: dict[str, Any] = {"compile": False, "seconds_per_step": eager}
    if world.share(_worth_compiling(compile, share, planned)):
        choice = _try_compiled(model, step, eager, planned, compile == "yes", world)
    return {**choice, **_steps(choice["seconds_per_step"], budget, world)}


def clock_rollout(step: Callable[[int], int], steps: int, budget: Budget, world: World) -> dict[str, Any]:
    """As `clock`, for steps that are made of rollouts: the `steps` of the first one are done and thrown away, but only
    where minutes are to become steps. Rows differ in length, so nothing is compiled."""
    if budget.minutes is None:
        return {"compile": False, "seconds_per_step": None, "steps": budget.steps}
    begun = time.perf_counter()
    for number in range(steps):
        step(number)
    seconds = world.share((time.perf_counter() - begun) / steps)
    return {"compile": False, "seconds_per_step": seconds, **_steps(seconds, budget, world)}


def _steps(seconds_per_step: float, budget: Budget, world: World) -> dict[str, Any]:
    if budget.minutes is None:
        return {"steps": budget.steps}
    left = world.share(budget.seconds_left()) * (1 - EVALUATIONS * EVALUATION_SHARE - _SPARE_SHARE)
    steps = int(left / seconds_per_step)
    if steps < 1 and world.leads:
        say(f"  minutes={budget.minutes:g} leave no time for a whole step here; doing one all the same")
    return {"steps": max(1, steps), "seconds_for_steps": left}


def _worth_compiling(wanted: str, share: float, planned_seconds: float) -> bool:
    """Compilation can at most close the gap to the products' own rate; it must win back what it takes."""
    if wanted == "no" or not machine.has_compiler():
        if wanted == "yes":
            say("  compile=yes, but there is no C++ compiler here (install g++ or clang++): not compiled")
        return False
    hoped = planned_seconds * max(0.0, 1.0 - share) / 2
    return wanted == "yes" or hoped > 2 * _COMPILE_SECONDS


def _try_compiled(
    model: Root, step: Callable[[], int], eager: float, planned: float, forced: bool, world: World
) -> dict[str, Any]:
    begun = time.perf_counter()
    try:
        compile_parts(model)
        compiled = machine.typical_seconds_of(step)
    except Exception as error:  # a compiler fails in many ways, and none of them should end the run
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        say(f"  torch.compile failed ({reason}); going on without it")
        compiled = float("inf")
    compiled, taken = world.share((compiled, time.perf_counter() - begun))
    note = {"eager_seconds_per_step": eager, "compile_seconds": round(taken, 1)}
    keeps = forced and compiled < float("inf")
    if keeps or (planned - taken) / compiled > planned / eager:
        return {"compile": True, "seconds_per_step": compiled, **note}
    for part in model.compilable():
        part._compiled_call_impl = None
    return {"compile": False, "seconds_per_step": eager, **note}


def evaluation_rows(rows: int, rows_per_step: int, steps: int) -> int:
    """How many validation rows one evaluation takes, so that it costs about a hundredth of the training.

    A forward pass alone takes a third of a step's time.
    """
    return max(1, min(rows, int(3 * EVALUATION_SHARE * steps * rows_per_step)))


def save_interval(seconds_per_step: float | None) -> int:
    """Steps between saves, when the user gives none: about a minute's work."""
    if seconds_per_step is None:
        return _STEPS_BETWEEN_SAVES
    return max(1, int(_SECONDS_BETWEEN_SAVES / max(seconds_per_step, 1e-3)))
