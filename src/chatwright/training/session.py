"""What a training run holds while it runs: roots, optimizer, plan; it logs, evaluates, saves and resumes.

A verb's recipe makes the parts and hands them to a session; the session drives the loop:

    plan ─ (resume) ─ step ─ log ─ save ─ evaluate ─ step … ─ finish
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from chatwright.distributed.checkpoint import load_state, save_state, save_weights, states
from chatwright.distributed.launch import World
from chatwright.errors import Interrupted
from chatwright.models.interop.files import WEIGHTS
from chatwright.models.interop.weights import public_weights
from chatwright.models.root import Root
from chatwright.objectives.contract import Objective
from chatwright.optim.schedules import Schedule
from chatwright.progress import bar
from chatwright.runs import OpenRun
from chatwright.training import plan as planning
from chatwright.training.interrupt import stop_requests
from chatwright.training.loop import Optimizer, Source, Step, accumulate, global_counts, steps
from chatwright.training.machine import keep_freed_memory
from chatwright.training.options import LoopOptions, named
from chatwright.training.pace import Pace
from chatwright.training.tensorboard import EventWriter

S = TypeVar("S", bound=Source)
Evaluate = Callable[[int], dict[str, Any]]


class Session:
    """One training run: `prepare` decides the plan or reads it back, `train` runs to the end.

    The first root is the one whose weights are published: the newest, or with `best_by`, which names a number of every
    evaluation, those that evaluated highest. `observers` hear of every step before anything is saved.
    """

    def __init__(
        self,
        run: OpenRun,
        world: World,
        roots: Mapping[str, Root],
        objective: Objective[Any],
        options: LoopOptions,
        begun: float,
        best_by: str | None = None,
    ) -> None:
        self.run, self.world, self.roots, self.objective, self.options = run, world, roots, objective, options
        self.begun, self.step, self.total = begun, 0, 0
        self.trained_seconds, self.tokens, self.targets = 0.0, 0, 0
        self.plan: dict[str, Any] = {}
        self.observers: list[Callable[[Step], None]] = []
        self.best_by = best_by
        self._pace = Pace()
        self._events: EventWriter | None = None
        self.optimizer: Optimizer
        self._source: Source
        self._factor: Callable[[int], float]

    @property
    def main(self) -> Root:
        """The root whose weights are published."""
        return next(iter(self.roots.values()))

    @property
    def resumes(self) -> bool:
        """Whether a saved state waits."""
        return bool(states(self.run.directory / "state"))

    def prepare(
        self,
        make_source: Callable[[int], S],
        length: int,
        rows: int,
        facts: Mapping[str, Any],
        initialize: Callable[[], None],
        rehearsal: int | None = None,
        settle: Callable[[torch.dtype], None] | None = None,
    ) -> S:
        """Resolve the plan, set the first weights or go back to the newest state, and return the source.

        make_source: from rows a micro-batch. length: of a row. rows: a step. facts: what else the plan records.
        initialize: sets the first weights. rehearsal: for rows that differ in length, which nothing is compiled for, the
        optimizer steps of one rollout, or 1; they are clocked once, together, and only where the plan asks for the clock.
        settle: sets frozen models up for the precision, before they are clocked and again when the plan stands.
        """
        # before anything is compiled: a switch thrown later would have it all compiled again
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        keep_freed_memory()
        stored = self.world.share(self.run.plan or None)
        micro = planning.micro_rows(rows, length, self.options.micro_tokens, self.world.device)
        self._source = source = make_source(micro)
        if stored is None:
            initialize()
            decided = self._decide(source, length, micro, rehearsal, settle)
            stored = self.world.share({**facts, **decided})
        self.plan = self.run.resolve(stored) if self.world.leads else stored
        planning.apply(self.roots.values(), self.plan)
        if settle is not None:
            settle(getattr(torch, self.plan["precision"]))
        self.optimizer, schedule = self._make_optimizer()
        self._factor = lambda step: schedule.factor(step, self.total)
        self.total = self.plan["steps"]
        self._start(initialize)
        return source

    def _start(self, initialize: Callable[[], None]) -> None:
        if self.resumes:
            self._load()
        else:
            initialize()
            _own_memory(self.roots.values())
            self.world.copy_weights(self.roots)
            self.run.cut_metrics(-1)
        if self.options.tensorboard and self.world.leads:
            self._events = EventWriter(self.run.directory / "tensorboard", self.step)

    def _decide(
        self,
        source: Source,
        length: int,
        micro: int,
        rehearsal: int | None,
        settle: Callable[[torch.dtype], None] | None,
    ) -> dict[str, Any]:
        """The plan of a new run: what is measured first, then what is clocked, which depends on it."""
        o = self.options
        budget = planning.Budget(o.steps, o.minutes, self.begun, reserve_seconds=2.0)
        is_masked = rehearsal is None and any(
            name.endswith("segments") for batch in source.batches(0) for name in batch.tensors
        )
        measured = self._measure(micro, length, is_masked)
        # what frozen models work out once is taken off the minutes and is no part of a step; without a clock it waits
        # for the plan, so that an interrupted run goes on with it
        if settle is not None and (rehearsal is None or budget.minutes is not None):
            settle(getattr(torch, measured["precision"]))
        clocked = self._clock(source, length, rehearsal, budget, measured["matmul_flops"])
        total = clocked["steps"]
        return {
            **measured,
            **clocked,
            "threads": torch.get_num_threads(),
            "processes": self.world.size,
            "micro_rows": micro,
            "save_every": o.save_every or planning.save_interval(clocked["seconds_per_step"]),
            "eval_every": o.eval_every or max(1, -(-total // planning.EVALUATIONS)),
        }

    def _measure(self, micro: int, length: int, is_masked: bool) -> dict[str, Any]:
        """Choose precision and attention kernel, and set the roots up with them; the first process chooses for all,
        because they share what they work out with it."""
        precision = self.world.share(planning.choose_precision(self.options.precision, self.world))
        for root in self.roots.values():
            root.compute_dtype = getattr(torch, precision["precision"])
        kernel = planning.choose_kernel(self.main, micro, length, segmented=is_masked, world=self.world)
        kernel = self.world.share(kernel)
        for root in self.roots.values():
            root.kernel = kernel["kernel"]
        return {**precision, **kernel}

    def _clock(
        self, source: Source, length: int, rehearsal: int | None, budget: planning.Budget, matmul_flops: float
    ) -> dict[str, Any]:
        """Time throw-away steps of an optimizer that moves nothing."""
        optimizer, _ = self._make_optimizer()

        def throw_away_step(step: int = 0) -> int:
            batches = [batch.to(self.world.device) for batch in source.batches(step)]
            counts = global_counts(self.objective, batches, self.world)
            accumulate(self.objective, batches, self.roots, self.objective.weights(0), counts)
            self.world.sum_gradients(optimizer.parameters)
            optimizer.step(0.0)
            optimizer.zero_grad()
            return sum(batch.tokens for batch in batches)

        if rehearsal is None:
            compile = self.options.compile
            return planning.clock(
                self.main, throw_away_step, length, budget, compile, matmul_flops, self.world
            )
        before = source.state_dict()
        clocked = planning.clock_rollout(throw_away_step, rehearsal, budget, self.world)
        source.load_state_dict(before)
        return clocked

    def _make_optimizer(self) -> tuple[Optimizer, Schedule]:
        cls, settings = named("optimizer", self.options.optimizer, learning_rate=self.options.learning_rate)
        _, schedule = named("schedule", self.options.schedule)
        return cls(self.roots, settings), schedule

    def train(self, source: Source, evaluate: Evaluate) -> None:
        """Run to the last step. Raises Interrupted, after saving, when the user asks to stop."""
        if self.step == 0 or self._owes_evaluation():
            self._evaluate(evaluate)
        with stop_requests() as stop, bar("training", self.total) as shown:
            while self.step < self.total:
                self._reclock()
                for step in self._stretch(source):
                    self._note(step)
                    for observe in self.observers:
                        observe(step)
                    shown.update(step.number, self._caption(step), self.total)
                    stopping = self.world.sum({"stop": float(stop.wanted)})["stop"] > 0
                    if self._is_saved() or stopping:
                        self.save(source)
                    if self._is_evaluated():
                        self._evaluate(evaluate)
                    if stopping and step.number < self.total:
                        raise Interrupted(
                            f"stopped and saved at step {step.number} of {self.total}; "
                            "run the same command again to go on"
                        )
        if self._events:
            self._events.close()

    def _stretch(self, source: Source) -> Iterator[Step]:
        """The steps until the clock is looked at again."""
        every = max(1, self.plan["steps"] // planning.LOOKS)
        last = min(self.total, (self.step // every + 1) * every)
        return steps(
            self.objective,
            source,
            self.roots,
            self.optimizer,
            self._factor,
            self.world,
            self.step,
            last,
            self.options.clip,
        )

    def _reclock(self) -> None:
        """With `minutes`, fit the number of steps to the pace of this process: machines are not always as fast as in
        the few steps that the plan was made from. The schedule ends with the last step, whichever it will be."""
        seconds = self.plan.get("seconds_for_steps")
        if seconds is None:
            return
        total = self.world.share(self._pace.fitting(self.step, seconds - self.trained_seconds, self.total))
        if total != self.total:
            self.total = total
            self._log(planned_steps=total)

    def _is_saved(self) -> bool:
        """What evaluates best is published, so the state that it came from has to be there first."""
        is_due = self.step % self.plan["save_every"] == 0 or self.step == self.total
        return is_due or (self.best_by is not None and self._is_evaluated())

    def _is_evaluated(self) -> bool:
        return self.step % self.plan["eval_every"] == 0 or self.step == self.total

    def _owes_evaluation(self) -> bool:
        """Whether the process died between the saved state and the evaluation that belongs to it."""
        done = any(row["step"] == self.step for row in self.run.metrics() if "evaluation" in row)
        return bool(self.world.share(not done and self._is_evaluated()))

    def _note(self, step: Step) -> None:
        self.step = step.number
        self.trained_seconds += step.seconds
        self._pace.note(step.seconds)
        self.tokens += step.tokens
        self.targets += step.targets
        weights = self.objective.weights(step.number - 1)
        terms = {term: round(value, 5) for term, value in step.terms.items()}
        metrics = {term: value for term, value in terms.items() if not weights[term]}
        self._log(
            loss={term: value for term, value in terms.items() if weights[term]},
            **({"metrics": metrics} if metrics else {}),
            gradient_norm=round(step.gradient_norm, 4),
            rate_factor=round(step.factor, 5),
            tokens=self.tokens,
            seconds=round(self.trained_seconds, 2),
        )

    def _log(self, **fields: Any) -> None:
        self.run.log(step=self.step, **fields)
        if self._events:
            self._events.write(self.step, "training", fields)

    def _caption(self, step: Step) -> str:
        weights = self.objective.weights(step.number - 1)
        losses = " ".join(f"{value:.3f}" for term, value in step.terms.items() if weights[term])
        return f"step {step.number} loss {losses} {step.tokens / step.seconds:,.0f} tokens/s"

    def _evaluate(self, evaluate: Evaluate) -> None:
        for root in self.roots.values():
            root.eval()
        # compiled parts would be compiled again for every shape that only evaluation has
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            found = evaluate(self.step)
        for root in self.roots.values():
            root.train()
        if self.best_by is not None and self.world.leads:
            known = [row["evaluation"][self.best_by] for row in self.run.metrics() if "evaluation" in row]
            if found[self.best_by] > max(known, default=float("-inf")):
                self._save_weights()
        if found:
            self._log(evaluation=found)

    def save(self, source: Source) -> None:
        """Write the state, then swap the weights in, so that an interrupted run can be used as it is."""
        if self.world.leads:
            tensors: dict[str, Tensor] = {f"optimizer.{k}": v for k, v in self.optimizer.state_dict().items()}
            for name, root in self.roots.items():
                tensors |= {f"weights.{name}.{key}": value for key, value in root.state_dict().items()}
            held = source.state_dict()
            tensors |= {f"source.{key}": value for key, value in held.items() if isinstance(value, Tensor)}
            rest = {
                "step": self.step,
                "total": self.total,
                "tokens": self.tokens,
                "targets": self.targets,
                "seconds": self.trained_seconds,
                "source": {key: value for key, value in held.items() if not isinstance(value, Tensor)},
            }
            save_state(self.run.directory / "state", self.step, tensors, rest)
            if self.best_by is None:
                self._save_weights()
        self.world.wait()

    def _save_weights(self) -> None:
        save_weights(self.run.directory / WEIGHTS, public_weights(self.main), {"format": "pt"})

    def _load(self) -> None:
        _, path = states(self.run.directory / "state")[-1]
        tensors, rest = load_state(path)
        self.step, self.total = rest["step"], rest["total"]
        self.tokens, self.targets, self.trained_seconds = rest["tokens"], rest["targets"], rest["seconds"]
        for name, root in self.roots.items():
            root.load_state_dict(_part(tensors, f"weights.{name}."))
        self.optimizer.load_state_dict(_part(tensors, "optimizer."))
        self._source.load_state_dict({**rest["source"], **_part(tensors, "source.")})
        self.run.cut_metrics(self.step)
        if self.world.leads and self.best_by is None:
            # the process may have died after it wrote the state and before it wrote these
            self._save_weights()

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / max(self.trained_seconds, 1e-9)

    def machine_share(self, length: int) -> float:
        """Training speed as a share of the measured matrix-product rate; the head counts where there are targets."""
        learnt = self.targets / max(1, self.tokens)
        flops = 3 * self.main.flops_per_token(length, learnt) * self.tokens_per_second
        return float(flops / self.plan["matmul_flops"] / self.world.size)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _own_memory(roots: Iterable[nn.Module]) -> None:
    """Weights read from a file stay where it is mapped, at places where a product rounds otherwise than at those of a
    resumed run's."""
    for root in roots:
        for parameter in root.parameters():
            parameter.data = parameter.data.clone()
