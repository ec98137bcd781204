"""What a recipe of `align` says, read from YAML or JSON and checked before anything is sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal

from chatwright.config import at_least, build, merge, option, read_file, set_nested
from chatwright.errors import UserError
from chatwright.registry import lookup
from chatwright.training.options import named

PolicyVerb = Literal["ppo", "grpo", "rloo", "dpo", "best-of-n"]


@dataclass(frozen=True)
class SampleOptions:
    """The replies of a round that are compared."""

    replies: int = option(4, "replies to each prompt")
    prompts: int = option(256, "prompts a round, other ones each round as long as there are any")
    temperature: float = option(1.0, "divides the logits in sampling")
    max_new_tokens: int = option(128, "the most tokens of a reply")
    cut: bool = option(False, "also compare replies that had not ended by then")

    def __post_init__(self) -> None:
        at_least(self, 2, "replies", group="samples.")
        at_least(self, 1, "prompts", "max_new_tokens", group="samples.")
        if self.temperature <= 0:
            raise UserError(
                f"samples.temperature={self.temperature:g} must be more than 0: replies are sampled"
            )


@dataclass(frozen=True)
class KeepOptions:
    """How it is decided whether a round's policy takes the place of the best so far."""

    by: Literal["judge", "gold"] = option("judge", "who says which reply is better")
    prompts: int = option(128, "prompts that are taken out of the others, and only measured on")

    def __post_init__(self) -> None:
        at_least(self, 1, "prompts", group="keep.")


def _group(cls: type, help: str) -> Any:
    return field(default_factory=cls, metadata={"help": help})


@dataclass(frozen=True)
class AlignOptions:
    """The keys of a recipe; paths are relative to where the command runs."""

    policy: str = option(MISSING, "the chat model to start from, a run")
    prompts: str = option(MISSING, "a file of prompts")
    judge: str | dict[str, Any] = option(
        MISSING,
        "who compares: judge.name=function (.reward=), reward (.run=), endpoint (.base_url=, .model=), people, or "
        "votes (.database=)",
    )
    rounds: int = option(3, "how often everything is repeated")
    seed: int = option(0, "of every random choice")
    samples: SampleOptions = _group(
        SampleOptions, "samples.replies=4, .prompts=256, .temperature=1, .max_new_tokens=128, .cut=no"
    )
    reward: dict[str, Any] = option(
        {}, "options of `reward`, which learns from the comparisons of all rounds"
    )
    policy_verb: PolicyVerb = option(
        "ppo", "what trains the policy: ppo, grpo, rloo, dpo or best-of-n (with sft)"
    )
    train: dict[str, Any] = option({}, "options of the verb that trains the policy")
    sft: dict[str, Any] = option({}, "of best-of-n: options of `sft` on the replies that it chose")
    gold: str | None = option(None, "a reward that is watched beside the judge")
    rules: dict[str, Any] = option({}, "options of named rewards, in judge and gold: rules.regex.pattern=…")
    keep: KeepOptions = _group(KeepOptions, "keep.by=judge or gold, .prompts=128 to decide on")

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")
        if self.keep.by == "gold" and self.gold is None:
            raise UserError("keep.by=gold needs gold, the reward to decide by")
        if self.sft and self.policy_verb != "best-of-n":
            raise UserError(f"sft belongs to policy_verb=best-of-n, not to {self.policy_verb}; leave it out")
        if self.reward and not self.trains_judge:
            raise UserError(
                "reward is not used by policy_verb=dpo, which learns from comparisons; leave it out"
            )

    @property
    def trains_judge(self) -> bool:
        """Whether the policy learns from a reward model; DPO learns from the comparisons themselves."""
        return self.policy_verb != "dpo"


@contextmanager
def at(place: str) -> Iterator[None]:
    """Begin every refusal with the place in the recipe."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def read_recipe(path: str | Path, *changes: Mapping[str, Any]) -> AlignOptions:
    """The recipe of a file with `changes` laid over it. Raises UserError, with file and key, for what cannot work."""
    if not Path(path).is_file():
        raise UserError(f"there is no recipe {path}; give a YAML or JSON file")
    values = merge(*(_nested(layer) for layer in (read_file(Path(path)), *changes)))
    with at(str(path)):
        options = build(AlignOptions, values, "the recipe")
        if options.trains_judge:
            _check("reward", "reward", options.reward)
        _check("train", options.policy_verb, options.train)
        _check("sft", "sft", options.sft)
    return options


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of keys like `kl.coefficient`, at any depth."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        set_nested(found, str(key).split("."), _nested(value) if isinstance(value, Mapping) else value)
    return found


def _check(key: str, verb: str, values: Mapping[str, Any]) -> None:
    """Refuse what a verb would refuse, days before its turn comes."""
    cls = lookup("verb", verb).options_type
    defaults = {name: value for name, value in vars(cls()).items() if isinstance(value, dict)}
    with at(key):
        options = build(cls, merge(defaults, values), verb)
        for kind in ("objective", "optimizer", "schedule"):
            if hasattr(options, kind):
                named(kind, getattr(options, kind))
