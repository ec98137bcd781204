"""`grpo` and `rloo`: the replies to a prompt are measured against each other, without a value model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chatwright.config import as_dict, build, option
from chatwright.errors import UserError
from chatwright.models.interop.files import empty_model, load_weights
from chatwright.objectives.policy import PolicyOptions
from chatwright.objectives.ppo import PPOOptions
from chatwright.recipes.alignment import online, ordering
from chatwright.recipes.alignment.online import Bench, Learner
from chatwright.recipes.alignment.ordering import OnlineOptions, Ordered
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.training.options import named
from chatwright.training.rollouts.advantages import Baseline
from chatwright.training.rollouts.estimators import GroupEstimator, KLOptions

_KL_UNDER_A_MODEL = 0.04


@dataclass(frozen=True)
class GroupOptions(OnlineOptions):
    """Groups of replies to the same prompt."""

    replies: int = option(8, "replies to each prompt, which are measured against each other")
    samples: int = option(64, "replies sampled in a rollout, over all processes")
    minibatches: int = option(1, "optimizer steps that a pass through a rollout is cut into")
    objective: dict[str, Any] = option(
        {"name": "policy"},
        "clips and weights: objective.clip=, .clip_high=, .normalise=, .ratio=, .kl=, .entropy=",
    )
    baseline: Literal["auto", "grpo", "dr_grpo", "rloo", "none"] = option(
        "auto", "what a reply's reward is measured against; auto: as the method says"
    )
    drop_equal: bool | None = option(
        None, "leave groups of equal rewards out, which teach nothing; default: as in DAPO under dapo"
    )
    optimizer: dict[str, Any] = option({"name": "adamw", "weight_decay": 0.0}, "adamw or muon")
    learning_rate: float | None = option(1e-4, "peak rate of the matrices")


@dataclass(frozen=True)
class GRPOVerbOptions(GroupOptions):
    """Group relative policy optimization."""

    variant: Literal["grpo", "dr_grpo", "dapo", "gspo"] = option(
        "grpo", "whose defaults: grpo, dr_grpo, dapo or gspo; what is given besides wins"
    )


@dataclass(frozen=True)
class RLOOVerbOptions(GroupOptions):
    """REINFORCE against the mean of a reply's neighbours."""

    kl: dict[str, Any] = option(
        {}, "the pull back to the start, in the reward: kl.coefficient=0.05, kl.target=, kl.horizon="
    )


@dataclass(frozen=True)
class Method:
    """How a method differs from the others: its baseline, whether it drops equal groups, its objective's options."""

    baseline: Baseline
    objective: dict[str, Any]
    drop_equal: bool = False


def variant(name: str, max_new_tokens: int, kl: float) -> Method:
    """GRPO (Shao et al. 2024, with every token counted alike), Dr. GRPO (Liu et al. 2025), DAPO (Yu et al. 2025), or
    GSPO with its clips of whole replies (Zheng et al. 2025); `kl` is the weight of the divergence in the loss."""
    whole = {"normalise": "replies", "ratio": "reply", "clip": 3e-4, "clip_high": 4e-4}
    found = {
        "grpo": Method("grpo", {"kl": kl, "normalise": "tokens"}),
        "dr_grpo": Method("dr_grpo", {"kl": kl, "normalise": "constant", "length": max_new_tokens}),
        "dapo": Method("grpo", {"kl": kl, "normalise": "tokens", "clip_high": 0.28}, drop_equal=True),
        "gspo": Method("grpo", {"kl": kl, **whole}),
    }
    return found[name]


@verb(GRPOVerbOptions)
def grpo(policy: Place, judge: Any, prompts: str | Path, out: str | Path, options: GRPOVerbOptions) -> Run:
    """Train a chat model by GRPO: sample several replies to each prompt, have JUDGE score them (a rule such as `number` or `exact`, file.py:function, a run of `reward`, or a weighted sum), and make those above their group's mean likelier."""
    begun = time.monotonic()
    given = ordering.order(policy, judge, prompts, options)
    # a rule cannot be talked into anything, a model can
    kl = _KL_UNDER_A_MODEL if given.judges.models else 0.0
    method = variant(options.variant, options.max_new_tokens, kl)
    return _learn("grpo", given, out, options, method, KLOptions(0.0), begun)


@verb(RLOOVerbOptions)
def rloo(policy: Place, judge: Any, prompts: str | Path, out: str | Path, options: RLOOVerbOptions) -> Run:
    """Train a chat model by RLOO: sample several replies to each prompt, have JUDGE score them as for `grpo`, and reinforce each by what it scored above the others, less its divergence from the start."""
    begun = time.monotonic()
    given = ordering.order(policy, judge, prompts, options)
    method = Method("rloo", {"normalise": "constant", "length": options.max_new_tokens})
    return _learn("rloo", given, out, options, method, build(KLOptions, options.kl, "kl"), begun)


def _learn(
    name: str,
    given: Ordered,
    out: str | Path,
    options: GroupOptions,
    method: Method,
    kl: KLOptions,
    begun: float,
) -> Run:
    """The recipe of both verbs."""
    cls, settings = named("objective", ordering.objective_options(options, **method.objective))
    if not isinstance(settings, PolicyOptions) or isinstance(settings, PPOOptions):
        raise UserError(f"objective={options.objective['name']} does not learn from groups; leave it out")
    baseline: Baseline = method.baseline if options.baseline == "auto" else options.baseline
    if options.replies < 2 and baseline != "none":
        raise UserError(
            f"replies={options.replies} leaves nothing to measure a reply against; give 2 or more, or baseline=none"
        )
    drop_equal = method.drop_equal if options.drop_equal is None else options.drop_equal
    resolved = {"baseline": baseline, "drop_equal": drop_equal, "objective": as_dict(settings)}

    def make(bench: Bench) -> Learner:
        model = empty_model(bench.shape, bench.world.device)
        return Learner(
            {"policy": model},
            lambda: load_weights(model, given.parent.directory),
            GroupEstimator(options.replies, baseline, kl),
            # divergence is also measured where gold is watched: the one is read against the other
            has_reference=bool(settings.kl or kl.coefficient or given.gold),
            ratios=options.steps_each > 1,
            drop_equal=drop_equal,
            facts=resolved,
        )

    return online.learn(name, given, out, options, cls(settings), make, begun)
