"""What the verbs that learn from their own replies share: prompts, judges, the run from its start to its end.

A method brings its objective and a `Learner`; `learn` does the rest, the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chatwright.distributed import launch, shared_run
from chatwright.distributed.launch import World
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import load_model, read_config
from chatwright.models.root import Root
from chatwright.models.scored import decoder_of
from chatwright.objectives.contract import Objective
from chatwright.progress import say
from chatwright.recipes.alignment.measuring import Measuring
from chatwright.recipes.alignment.ordering import Ordered, best_by, budgeted, held_of, judging_of, sampling_of
from chatwright.recipes.trained import finish, write_chat_model
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.loop import Source
from chatwright.training.rollouts.experience import Asked, Experience, frozen
from chatwright.training.rollouts.options import RolloutOptions
from chatwright.training.rollouts.source import Cutting, Estimator, RolloutSource
from chatwright.training.session import Session


@dataclass(frozen=True)
class Bench:
    """Where a method builds what it trains: the open run, and what was read from the policy that it starts from."""

    run: OpenRun
    world: World
    renderer: Renderer
    shape: DecoderOptions


@dataclass(frozen=True)
class Learner:
    """What a method trains, and how its replies become advantages.

    `roots`: the policy first; `initialize` gives them their first weights. `value`: the root that values tokens, if one
    does. `has_reference`: whether divergence from the start is measured; `ratios`: whether a rollout is learnt from in
    more than one step; `drop_equal`: whether groups of equal rewards are left out. `mixed`: what else is learnt from.
    `facts`: what the plan records of the method.
    """

    roots: dict[str, Root]
    initialize: Callable[[], None]
    estimator: Estimator
    value: Root | None = None
    has_reference: bool = True
    ratios: bool = True
    drop_equal: bool = False
    mixed: Source | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def learn(
    verb: str,
    given: Ordered,
    out: str | Path,
    options: RolloutOptions,
    objective: Objective[Any],
    make: Callable[[Bench], Learner],
    begun: float,
) -> Run:
    """The run of a verb, from the open directory to the result; `make` builds what the method trains."""
    world, start = launch.world(), given.parent.directory
    with shared_run.start(world, verb, out, given.identity(options), given.parents, given.inputs) as run:
        if run.finished:
            return Run(run.directory)
        tokenizer, shape = Tokenizer.load(start), read_config(start)
        renderer = Renderer(tokenizer)
        if world.leads:
            write_chat_model(run.directory, shape, tokenizer, renderer.template)
        learner = make(Bench(run, world, renderer, shape))
        reference = frozen(load_model(start, world.device), torch.float32) if learner.has_reference else None
        session = Session(
            run, world, learner.roots, objective, budgeted(options), begun, best_by(given, options)
        )
        experience = Experience(
            session.main,
            renderer,
            judging_of(given, options),
            sampling_of(options),
            reference,
            learner.value,
            learner.ratios,
        )
        asked = [experience.ask(prompt) for prompt in given.train]
        length = max(len(one.ids) for one in asked) + options.max_new_tokens
        source = _prepare(session, given, options, learner, experience, asked, length)
        attach(session, source)
        measure = Measuring(
            held_of(given, options),
            decoder_of(session.main),
            lambda: load_model(start, world.device),
            renderer,
        )
        measured = world.leads and given.held
        session.train(source, lambda step: measure(step) if measured else {})
        return close(session, given, length)


def _prepare(
    session: Session,
    given: Ordered,
    options: RolloutOptions,
    learner: Learner,
    experience: Experience,
    asked: list[Asked],
    length: int,
) -> RolloutSource:
    """Resolve the plan and the first weights; returns the source of rollouts."""

    def make_source(micro: int) -> RolloutSource:
        experience.micro_tokens = micro * length
        cutting = Cutting.of(options, micro * length, learner.drop_equal)
        return RolloutSource(
            asked,
            experience,
            learner.estimator,
            session.objective,
            cutting,
            options.seed,
            session.world,
            learner.mixed,
            options.kl_stop,
        )

    def settle(precision: torch.dtype) -> None:
        if experience.reference is not None:
            frozen(experience.reference, precision)
        given.judges.compute_in(precision)

    parameters = sum(p.numel() for root in learner.roots.values() for p in root.parameters())
    return session.prepare(
        make_source,
        length,
        options.samples,
        {"parameters": parameters, **learner.facts},
        learner.initialize,
        options.steps_each,
        settle,
    )


def attach(session: Session, source: RolloutSource) -> None:
    """Let the source hear of every step and write down every rollout; say what is going to happen."""
    session.observers.append(source.observe)
    if not session.world.leads:
        return
    source.log = lambda step, **fields: session.run.log(step=step, **fields)
    plan = session.plan
    how = f"{plan['precision']}, {plan['kernel']} attention"
    say(f"  {plan['parameters'] / 1e6:.2f} M parameters in training, {how}, {plan['steps']:,} steps")
    if session.step:
        say(f"  resumed at step {session.step}")


def close(session: Session, ordered: Ordered, length: int, **more: Any) -> Run:
    """Say which step was kept, and finish the run."""
    if session.best_by and session.world.leads:
        rows = [row for row in session.run.metrics() if "evaluation" in row]
        best = max(rows, key=lambda row: (row["evaluation"][session.best_by], -row["step"]))
        won = best["evaluation"]
        more |= {name: won[name] for name in ("win_rate", "win_interval") if name in won}
        more |= {"best_step": best["step"]}
        say(f"  kept the weights of step {best['step']}, the best {session.best_by} on held-out prompts")
    return finish(session, length, **more)
