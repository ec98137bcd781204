"""What the verbs that learn from their own replies share: prompts, judges, the run from its start to its end.

A method brings its objective and a `Learner`; `learn` does the rest, the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from chatwright.config import option
from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_prompts
from chatwright.data.records import Prompt
from chatwright.distributed import launch, shared_run
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import load_model, read_config
from chatwright.models.root import Root
from chatwright.models.scored import decoder_of
from chatwright.objectives.contract import Objective
from chatwright.progress import say
from chatwright.recipes.alignment.judging import Judges, Spec, judges_of
from chatwright.recipes.alignment.measuring import Held, Measuring
from chatwright.recipes.alignment.stores import split_prompts
from chatwright.recipes.trained import finish, write_chat_model
from chatwright.recipes.verb import Place
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.loop import Source
from chatwright.training.rollouts.experience import Asked, Experience, Judging, frozen
from chatwright.training.rollouts.options import RolloutOptions
from chatwright.training.rollouts.source import Cutting, Estimator, RolloutSource
from chatwright.training.session import Session

CHATS = ["sft", "ppo", "grpo", "rloo", "dpo", "kto", "orpo", "simpo", "distill", "align"]
_DEFAULT_ITERATIONS = 50


@dataclass(frozen=True)
class OnlineOptions(RolloutOptions):
    """Learning from judged replies."""

    ensemble: tuple[str, ...] = option((), "more runs of `reward` that judge together with the first")
    pessimism: float = option(0.0, "of an ensemble: what its disagreement costs")
    reward: dict[str, Any] = option({}, "options of named rewards: reward.regex.pattern=…")
    optimizer: dict[str, Any] = option({"name": "adamw", "weight_decay": 0.0, "eps": 1e-5}, "adamw or muon")
    learning_rate: float | None = option(1e-5, "peak rate of the matrices")
    schedule: dict[str, Any] = option({"name": "wsd", "decay": 1.0, "warmup": 0.0}, "wsd, cosine or constant")


@dataclass(frozen=True)
class Ordered:
    """What the user asked for: the policy to start from, the judges, and the prompts of both sides."""

    parent: Run
    judges: Judges
    gold: Judges | None
    train: list[Prompt]
    held: list[Prompt]
    inputs: list[str | Path]

    @property
    def parents(self) -> dict[str, Run]:
        """Every run that this one is made from, by its role."""
        gold = dict(self.gold.parents) if self.gold else {}
        return {"policy": self.parent, **self.judges.parents, **gold}


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


def order(
    policy: Place,
    judge: Spec,
    prompts: str | Path,
    options: OnlineOptions,
    inputs: Sequence[str | Path] = (),
) -> Ordered:
    """Open and read what the verb was given; refuse what cannot work before anything is written. `inputs` are files
    that it reads besides."""
    parent = Run.open(policy, CHATS)
    judges = judges_of(judge, options.reward, options.ensemble, options.pessimism)
    gold = judges_of(options.gold, options.reward, role="gold") if options.gold else None
    skipped = Tally()
    found = list(read_prompts(prompts, skipped))
    validation = list(read_prompts(options.validation)) if options.validation else None
    for reward in (judges, *([gold] if gold else [])):
        reward.check([*found, *(validation or [])])
    train, held = split_prompts(found, validation, options.validation_prompts, options.seed)
    if launch.world().leads:
        say(f"  {len(train):,} prompts to learn from, {len(held):,} to measure on; judged by {judges.name}")
        for reason, count in skipped.items():
            say(f"  skipped {count:,}: {reason} (first: {skipped.places[reason]})")
    files = [prompts, *([options.validation] if options.validation else []), *inputs, *judges.inputs]
    return Ordered(parent, judges, gold, train, held, [*files, *(gold.inputs if gold else [])])


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
    with shared_run.start(world, verb, out, options, given.parents, given.inputs) as run:
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
        asked = ask_all(experience, given.train)
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


def budgeted(options: Any) -> Any:
    """`iterations` (by default 50) as a number of optimizer steps."""
    timed = options.steps is not None or options.minutes is not None
    if timed and options.iterations is not None:
        raise UserError("iterations= excludes steps= and minutes=; give one of them")
    if timed:
        return options
    return replace(options, steps=(options.iterations or _DEFAULT_ITERATIONS) * options.steps_each)


def sampling_of(options: RolloutOptions) -> SamplingOptions:
    """The whole distribution at the temperature: what is cut off would be scored all the same."""
    return SamplingOptions(
        max_new_tokens=options.max_new_tokens, temperature=options.temperature, top_p=1.0, seed=options.seed
    )


def judging_of(ordered: Ordered, options: RolloutOptions) -> Judging:
    """Judge, gold and the score of what does not end."""
    return Judging(ordered.judges.reward, ordered.gold.reward if ordered.gold else None, options.unfinished)


def held_of(ordered: Ordered, options: RolloutOptions) -> Held:
    """What is measured on, and how."""
    gold = ordered.gold.reward if ordered.gold else None
    return Held(ordered.held, ordered.judges.reward, gold, options.split_by, options.max_new_tokens)


def objective_options(options: Any, **defaults: Any) -> dict[str, Any]:
    """The objective's group, with the rollout's temperature: one number in sampling, reference and update."""
    group = dict(options.objective)
    if "temperature" in group and float(group["temperature"]) != options.temperature:
        raise UserError("objective.temperature differs from temperature; leave it out")
    return {**defaults, **group, "temperature": options.temperature}


def ask_all(experience: Experience, prompts: Sequence[Prompt]) -> list[Asked]:
    """All prompts as tokens."""
    return [experience.ask(prompt) for prompt in prompts]


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


def best_by(ordered: Ordered, options: RolloutOptions) -> str | None:
    """The number by which the kept weights are chosen."""
    if options.keep == "last" or not ordered.held:
        return None
    return "gold" if ordered.gold else "reward"
