"""Who judges: a run of `reward`, the name of a rule, a function of the user's, or a weighted sum of several.

out/judge            exact            rewards.py:short            out/judge,0.2*length
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chatwright.data.records import Prompt
from chatwright.errors import UserError, did_you_mean
from chatwright.recipes.verb import Place
from chatwright.registry import table
from chatwright.rewards.contract import Mixture, Reward
from chatwright.rewards.function import Function, FunctionOptions
from chatwright.rewards.model import Ensemble, RewardModel
from chatwright.rewards.verifiable import answer_of
from chatwright.runs import Run
from chatwright.training.options import named

_WEIGHT = re.compile(r"\s*(-?\d+(?:\.\d*)?)\s*\*\s*(.+)")
Spec = Place | Callable[..., Any]


@dataclass(frozen=True)
class Judges:
    """A reward with its name, the runs that it was made from, the reward models among it, and the fields of a prompt's
    row that its rules compare replies with. The name stands in the run; the content of a function's file does not, so
    that it can be mended and the run go on."""

    reward: Reward
    name: str
    parents: Mapping[str, Run] = field(default_factory=dict)
    models: list[RewardModel] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """The judge that a run which is gone on with has to have, by name; a run of `reward` is known by its content, and
        a function that a program hands over by nothing."""
        is_run = self.name in map(str, self.parents.values())
        return "" if is_run or isinstance(self.reward, _Called) else self.name

    def check(self, prompts: Iterable[Prompt]) -> None:
        """Refuse a prompt without an answer that a rule needs, before anything is sampled."""
        for prompt in prompts if self.fields else ():
            for name in self.fields:
                answer_of(prompt, name)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let the reward models compute in the type that the plan decided on."""
        for model in self.models:
            model.model.compute_dtype = dtype


def judges_of(
    spec: Spec,
    options: Mapping[str, Any],
    ensemble: Iterable[str] = (),
    pessimism: float = 0.0,
    role: str = "judge",
) -> Judges:
    """The reward that a user names. `options` holds groups for the rules that are named, as `{"regex": {"pattern": …}}`;
    `ensemble` names more runs of `reward` that judge together with the first."""
    if callable(spec):
        return Judges(_Called(spec), getattr(spec, "__qualname__", repr(spec)))
    parts = [spec] if isinstance(spec, Run | Path) or Run(Path(spec)).exists else spec.split(",")
    found = []
    for number, part in enumerate(parts):
        match = _WEIGHT.fullmatch(part) if isinstance(part, str) else None
        weight, place = (float(match[1]), match[2]) if match else (1.0, part)
        others = list(ensemble) if number == 0 else []
        found.append(
            (weight, _one(place, options, others, pessimism, f"{role}_{number}" if number else role))
        )
    if len(found) == 1 and found[0][0] == 1.0:
        return found[0][1]
    return Judges(
        Mixture([(judges.name, weight, judges.reward) for weight, judges in found]),
        str(spec),
        {role: run for _, judges in found for role, run in judges.parents.items()},
        [model for _, judges in found for model in judges.models],
        [name for _, judges in found for name in judges.fields],
    )


def _one(
    place: Place, options: Mapping[str, Any], ensemble: list[str], pessimism: float, role: str
) -> Judges:
    if isinstance(place, Run | Path) or Run(Path(place)).exists:
        runs = [Run.open(run, ["reward"]) for run in (place, *ensemble)]
        models = [RewardModel.load(run.directory) for run in runs]
        roles = {role if not n else f"{role}_ensemble_{n}": run for n, run in enumerate(runs)}
        is_one = len(models) == 1 and models[0].model.numbers == 1
        reward: Reward = models[0] if is_one else Ensemble(models, pessimism)
        return Judges(reward, str(runs[0]), roles, models)
    if ensemble:
        raise UserError(f"ensemble= joins reward models, and {place} is no run of `reward`")
    name = place.strip()
    if ":" in name:
        return Judges(Function(FunctionOptions(name)), name)
    if name not in table("reward"):
        raise UserError(
            f"there is no run of `reward` at {name} and no reward of that name{did_you_mean(name, table('reward'))}; "
            "write a run's directory, file.py:function, or one of " + ", ".join(sorted(table("reward")))
        )
    cls, settings = named("reward", {"name": name, **options.get(name, {})})
    compared = getattr(settings, "answer_field", None)
    return Judges(cls(settings), name, fields=[compared] if compared else [])


class _Called:
    """A Python function `f(prompt, reply, **facts)` handed over by a program."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.name = function, getattr(function, "__qualname__", "function")

    def __call__(self, prompts: Any, replies: Any) -> list[float]:
        return [
            self.function(prompt.messages[-1].content, reply, **prompt.facts)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
