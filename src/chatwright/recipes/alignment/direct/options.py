"""The options of `dpo`, `kto`, `orpo` and `simpo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatwright.config import option
from chatwright.recipes.alignment.options import PairOptions


@dataclass(frozen=True)
class PreferenceOptions(PairOptions):
    """The loop over preferences; nothing is compiled, because rows differ in length."""

    objective: dict[str, Any] = option({"name": "dpo"}, "what is minimized, with its options")
    optimizer: dict[str, Any] = option(
        {"name": "adamw", "weight_decay": 0.0}, "adamw or muon, with their options"
    )
    learning_rate: float | None = option(
        1e-5, "peak rate; a few times more soon unlearns the chosen replies as well"
    )


@dataclass(frozen=True)
class DPOVerbOptions(PreferenceOptions):
    """Direct preference optimization."""

    objective: dict[str, Any] = option(
        {"name": "dpo"}, "objective.beta=0.1, .loss=sigmoid, ipo, hinge or robust, .smoothing="
    )
    reference: str | None = option(None, "the run that the policy is held to (default: START)")


@dataclass(frozen=True)
class KTOVerbOptions(PreferenceOptions):
    """Kahneman–Tversky optimization."""

    objective: dict[str, Any] = option(
        {"name": "kto"}, "objective.beta=0.1, .desirable=, .undesirable=, .group= (replies to a baseline)"
    )
    reference: str | None = option(None, "the run that the policy is held to (default: START)")
    batch: int = option(64, "labelled replies an optimizer step, a multiple of objective.group")


@dataclass(frozen=True)
class ORPOVerbOptions(PreferenceOptions):
    """Odds ratio preference optimization."""

    objective: dict[str, Any] = option({"name": "orpo"}, "objective.weight=0.1 of the odds ratio")


@dataclass(frozen=True)
class SimPOVerbOptions(PreferenceOptions):
    """Simple preference optimization."""

    objective: dict[str, Any] = option({"name": "simpo"}, "objective.beta=2, .gamma=1 (the margin)")
