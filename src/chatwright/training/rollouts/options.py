"""How replies are sampled and how often they are learnt from: the options that PPO, GRPO and RLOO share."""

from __future__ import annotations

from dataclasses import dataclass

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.training.options import LoopOptions


@dataclass(frozen=True)
class RolloutOptions(LoopOptions):
    """A rollout: `samples` replies, `passes` times cut into `minibatches`, each an optimizer step."""

    iterations: int | None = option(None, "rollouts, instead of steps or minutes (default: 50)")
    samples: int = option(256, "replies sampled in a rollout, over all processes")
    minibatches: int = option(4, "optimizer steps that a pass through a rollout is cut into")
    passes: int = option(1, "times through a rollout")
    replies: int = option(1, "replies to each prompt; a baseline of the group needs several")
    max_new_tokens: int = option(128, "the most tokens of a reply")
    temperature: float = option(1.0, "divides the logits, in sampling and in every loss alike")
    unfinished: float | None = option(
        None, "score of a reply that did not end within max_new_tokens; none: as the judge scores it"
    )
    kl_stop: float | None = option(
        None, "leave the rest of a rollout when a step's divergence from the sampling policy passes this"
    )
    gold: str | None = option(
        None, "a reward that is only watched: the gold, beside the judge that is learnt from"
    )
    keep: str = option(
        "best", "which weights the run keeps: best by gold or reward on held-out prompts, or last"
    )
    validation: str | None = option(
        None, "a file of prompts to measure on; default: a few of the prompts' file"
    )
    split_by: str | None = option(
        None, "a field of the prompts' rows: what is measured is also shown for each of its values"
    )
    validation_prompts: int = option(128, "how many prompts are measured on, at most")

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("iterations", "samples", "minibatches", "passes", "replies", "max_new_tokens")
        at_least(self, 1, *counts, "validation_prompts")
        if self.temperature <= 0:
            raise UserError(f"temperature={self.temperature:g} must be more than 0: replies are sampled")
        if self.samples % self.replies:
            raise UserError(f"samples={self.samples} is not a multiple of replies={self.replies}")
        if self.samples // self.replies < self.minibatches:
            raise UserError(
                f"minibatches={self.minibatches} is more than the {self.samples // self.replies} prompts of a rollout"
            )
        if self.keep not in ("best", "last"):
            raise UserError(f"keep={self.keep} is not one of best, last")

    @property
    def steps_each(self) -> int:
        """Optimizer steps of a rollout."""
        return self.passes * self.minibatches
