"""What the verbs that learn from their own replies were asked for: policy, judges, prompts, and how to sample and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatwright.config import as_dict, option
from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_prompts
from chatwright.data.records import Prompt
from chatwright.distributed import launch
from chatwright.errors import UserError
from chatwright.generation.sampling import SamplingOptions
from chatwright.progress import say
from chatwright.recipes.alignment.judging import Judges, Spec, judges_of
from chatwright.recipes.alignment.measuring import Held
from chatwright.recipes.alignment.stores import split_prompts
from chatwright.recipes.verb import Place
from chatwright.runs import Run
from chatwright.training.rollouts.experience import Judging
from chatwright.training.rollouts.options import RolloutOptions

CHATS = ["sft", "ppo", "grpo", "rloo", "dpo", "kto", "orpo", "simpo", "distill", "align", "import"]


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

    def identity(self, options: RolloutOptions) -> dict[str, Any]:
        """The options and the judge's name, which a run that is gone on with has to have."""
        return {**as_dict(options), "judge": self.judges.identity}

    @property
    def parents(self) -> dict[str, Run]:
        """Every run that this one is made from, by its role."""
        gold = dict(self.gold.parents) if self.gold else {}
        return {"policy": self.parent, **self.judges.parents, **gold}


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
    files = [prompts, *([options.validation] if options.validation else []), *inputs]
    return Ordered(parent, judges, gold, train, held, files)


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


def best_by(ordered: Ordered, options: RolloutOptions) -> str | None:
    """The number by which the kept weights are chosen."""
    if options.keep == "last" or not ordered.held:
        return None
    return "gold" if ordered.gold else "reward"


def budgeted(options: Any) -> Any:
    """`iterations` (by default 50) as a number of optimizer steps."""
    timed = options.steps is not None or options.minutes is not None
    if timed and options.iterations is not None:
        raise UserError("iterations= excludes steps= and minutes=; give one of them")
    if timed:
        return options
    return replace(options, steps=(options.iterations or _DEFAULT_ITERATIONS) * options.steps_each)
