"""Who compares replies in `align`: a reward, a reward model, an endpoint, or people through a file or a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import build
from chatwright.errors import UserError, did_you_mean
from chatwright.recipes.alignment.judging import Judges, judges_of
from chatwright.registry import table
from chatwright.rewards.contract import Judge
from chatwright.rewards.endpoint import EndpointJudge
from chatwright.rewards.judges import FunctionJudge
from chatwright.rewards.people import PeopleJudge
from chatwright.runs import Run
from chatwright.serving.votes.judge import VotesJudge
from chatwright.training.options import named

OPEN = "open.jsonl"
VERDICTS = "verdicts.jsonl"
_BY_SCORE = {"function": "a rule, file.py:function or a run of `reward`", "reward": "a run of `reward`"}

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Referee:
    """A judge that keeps its verdicts where a round lies. `judges`: the reward that it ranks by, if it does."""

    name: str
    make: Callable[[Path, Progress], Judge]
    judges: Judges | None = None


def referee_of(group: str | Mapping[str, Any], rules: Mapping[str, Any]) -> Referee:
    """The referee of a recipe's group `judge`; `rules` are options of named rewards, by their names."""
    values = {"name": group} if isinstance(group, str) else dict(group)
    known = sorted({*table("judge"), *_BY_SCORE})
    name = str(values.pop("name", ""))
    if not name:
        raise UserError(f"it has no name; give one of {', '.join(known)}")
    if name not in known:
        raise UserError(f"there is no judge {name!r}{did_you_mean(name, known)}")
    if name in _BY_SCORE:
        return _by_score(name, values, rules)
    cls, settings = named("judge", {"name": name, **values})

    def make(place: Path, progress: Progress) -> Judge:
        """The verdicts of an endpoint are kept for all rounds, and people have a file a round."""
        if cls is EndpointJudge:
            return EndpointJudge(settings, place.parent / VERDICTS, progress)
        if cls is VotesJudge:
            return VotesJudge(settings, place.parent)
        found: Judge = PeopleJudge(settings, place / OPEN) if cls is PeopleJudge else cls(settings)
        return found

    return Referee(name, make)


def _by_score(name: str, values: dict[str, Any], rules: Mapping[str, Any]) -> Referee:
    """A judge that ranks replies by what a reward gives them."""
    key = "run" if name == "reward" else "reward"
    spec = values.pop(key, None)
    if spec is None:
        raise UserError(f"{name} needs the option {key!r}, {_BY_SCORE[name]}")
    judges = judges_of(Run.open(str(spec), ["reward"]) if name == "reward" else str(spec), rules)
    settings = build(FunctionJudge.Options, values, name)
    return Referee(judges.name, lambda place, progress: FunctionJudge(settings, judges.reward), judges)
