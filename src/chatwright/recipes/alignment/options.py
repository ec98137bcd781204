"""The options that verbs over preferences share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from chatwright.config import at_least, option
from chatwright.data.group_store import GroupRows
from chatwright.errors import UserError
from chatwright.training.options import LoopOptions


@dataclass(frozen=True)
class PairOptions(LoopOptions):
    """The loop over prompts with their replies."""

    batch: int = option(64, "prompts, each with all its replies, an optimizer step")
    epochs: float | None = option(None, "times through the prompts, instead of steps or minutes (default: 1)")
    limit: int | None = option(
        None, "longest prompt and reply, in tokens; longer ones are left out (default: the model's context)"
    )
    validation: str | None = option(
        None, "a file of preferences to measure on; default: a few of the training file's prompts"
    )
    optimizer: dict[str, Any] = option({"name": "adamw"}, "adamw or muon, with their options")
    learning_rate: float | None = option(1e-4, "peak rate of the matrices")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "batch", "limit")
        if self.compile == "yes":
            raise UserError("compile=yes would compile again for every length of replies; leave compile= out")


P = TypeVar("P", bound=PairOptions)


def in_steps(options: P, rows: GroupRows) -> P:
    """`epochs` (by default one) as a number of steps."""
    timed = options.steps is not None or options.minutes is not None
    if timed and options.epochs is not None:
        raise UserError("epochs= excludes steps= and minutes=; give one of them")
    if timed:
        return options
    epochs = 1.0 if options.epochs is None else options.epochs
    if epochs <= 0:
        raise UserError(f"epochs={epochs:g} must be more than 0")
    return replace(options, steps=max(1, round(epochs * rows.rows_in_epoch(0) / options.batch)))


def sequence_limit(options: PairOptions, context: int) -> int:
    """The longest sequence that is learnt from."""
    if options.limit is not None and options.limit > context:
        raise UserError(f"limit={options.limit} is longer than the model's context of {context}; lower it")
    return options.limit or context
