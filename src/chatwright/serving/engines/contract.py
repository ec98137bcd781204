"""What the server asks of an engine: our own continuous one, or another program's behind the same few calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from chatwright.config import at_least, option
from chatwright.generation.continuous.contract import Ask, Piece, Ticket
from chatwright.generation.text import TextModel

# What not every engine can: the parameters that a request is refused for where it cannot.
Ability = Literal["logprobs", "constraint", "bias", "penalties"]
ABILITIES: frozenset[Ability] = frozenset({"logprobs", "constraint", "bias", "penalties"})


@dataclass(frozen=True)
class EngineOptions:
    """How replies are computed."""

    engine: str = option("own", "what computes the replies: own, llamacpp or openvino (a plug-in's name)")
    weights: Literal["int8", "int4", "bf16", "float32"] = option(
        "int8", "how the engine keeps weights for decoding"
    )
    slots: int = option(8, "replies that a model writes at the same time")
    queue: int = option(64, "requests that may wait for a model; more are refused with 429")
    context: int | None = option(None, "tokens that a prompt and its reply may have; none: the model's own")
    threads: int | None = option(None, "threads that compute; none: what the engine finds best")
    drafts: int = option(
        8, "tokens that a reply is guessed ahead from its own text and prompt, to write faster; 0: none"
    )

    def __post_init__(self) -> None:
        at_least(self, 1, "slots", "threads")
        at_least(self, 0, "queue", "drafts")
        at_least(self, 2, "context")


class Engine(Protocol):
    """One model, ready to write. All methods may be called from any thread and none waits for a reply, but `close`."""

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its reply together."""
        ...

    @property
    def vocab_size(self) -> int:
        """The length of the masks that constraints give."""
        ...

    @property
    def abilities(self) -> frozenset[Ability]: ...

    @property
    def most(self) -> int:
        """Requests that run and wait when the engine is full; more at once are never taken."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its thread still works; False after `close` too."""
        ...

    def submit(self, ask: Ask, on_piece: Callable[[Piece], None]) -> Ticket:
        """Take a request in; its pieces go to `on_piece`, in the engine's thread. Raises QueueFull or EngineClosed."""
        ...

    def stats(self) -> Mapping[str, float]:
        """Counts since the start, and what runs and waits now: see `ContinuousEngine.stats`."""
        ...

    def close(self, drain: float) -> None:
        """Take nothing more, let what runs go on for at most `drain` seconds, stop."""
        ...


OpenEngine = Callable[[TextModel, Path, EngineOptions], Engine]
