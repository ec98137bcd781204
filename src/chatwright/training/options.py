"""The options that every training verb has; their names mean the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from chatwright.config import at_least, build, option
from chatwright.errors import UserError
from chatwright.registry import lookup


@dataclass(frozen=True)
class LoopOptions:
    """How long, how fast, with what care: what every verb that trains can be told."""

    steps: int | None = option(None, "optimizer steps; or give minutes")
    minutes: float | None = option(None, "time to train; the number of steps follows the pace")
    seed: int = option(0, "of weights, order and every random choice")
    micro_tokens: int | None = option(
        None, "input positions a forward pass; default: 2,048 on a processor, else the whole share"
    )
    learning_rate: float | None = option(None, "peak rate of the matrices; default: the optimizer's")
    optimizer: dict[str, Any] = option({"name": "muon"}, "adamw or muon, with their options")
    schedule: dict[str, Any] = option({"name": "wsd"}, "wsd, cosine or constant, with their options")
    clip: float = option(1.0, "bound of the gradient norm; 0 for none")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "type of the activations; auto measures"
    )
    compile: Literal["auto", "yes", "no"] = option("auto", "torch.compile; auto where it wins back its time")
    save_every: int | None = option(None, "steps between saved states; default: about a minute's work")
    eval_every: int | None = option(None, "steps between evaluations; default: five in a run")

    tensorboard: bool = option(False, "also write TensorBoard events into the run")

    def __post_init__(self) -> None:
        at_least(self, 1, "micro_tokens", "save_every", "eval_every")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise UserError(f"learning_rate={self.learning_rate} must be more than 0")
        if self.clip < 0:
            raise UserError(f"clip={self.clip} must be 0 (no bound) or more")


@dataclass(frozen=True)
class TrainingOptions(LoopOptions):
    """The loop over rows of text of one length."""

    batch_tokens: int = option(8192, "input positions an optimizer step, over all processes")
    context: int | None = option(
        None, "row length in tokens; default: what fits the data, at most the model's"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "batch_tokens", "context")


def named(kind: str, group: str | dict[str, Any], **defaults: Any) -> tuple[Any, Any]:
    """The class that a group of options names and its own options: `{"name": "muon", "momentum": 0.9}`.

    `defaults` fill options that the class has and the group leaves out.
    """
    values = {"name": group} if isinstance(group, str) else dict(group)
    cls = lookup(kind, str(values.pop("name")))
    options = getattr(cls, "Options", cls)
    known = {field.name for field in fields(options)}
    filled = {name: value for name, value in defaults.items() if name in known and value is not None}
    return cls, build(options, {**filled, **values}, kind)
