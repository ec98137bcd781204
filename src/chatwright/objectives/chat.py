"""Supervised chats: next token on the assistant's turns only (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from chatwright.config import option
from chatwright.data.packing import IGNORE, Packed
from chatwright.data.records import Chat
from chatwright.errors import UserError
from chatwright.objectives.causal import Causal, CausalOptions, example_rows, tiny_decoder

_STRETCHED_SHARE = 0.6
_MOST_GAPS = 3


@dataclass(frozen=True)
class ChatOptions:
    """Predict the assistant's turns; which tokens those are is marked by the renderer."""

    stretch: int = option(
        0, "longest gap put between positions of a prompt, so that longer prompts are understood"
    )

    def __post_init__(self) -> None:
        if self.stretch < 0:
            raise UserError(f"objective.stretch={self.stretch} must be 0 (no gaps) or more")


class SupervisedChat(Causal):
    """Demonstrations (Ouyang et al. 2022, InstructGPT): the causal loss where the renderer marked the assistant's words
    and the end of the turn. Chats that share a row never see each other.

    With `stretch`, prompts are spread over more positions than they have tokens (Ruoss et al. 2023, randomized positional
    encodings): it costs nothing, and a model taught on short questions also answers long ones.
    """

    record: type = Chat
    Options = ChatOptions  # type: ignore[assignment]

    def __init__(self, options: ChatOptions = ChatOptions()) -> None:
        super().__init__(CausalOptions(within_documents=True))
        self.stretch = options.stretch

    def prepare(self, record: Packed, rng: np.random.Generator) -> Packed:
        if not self.stretch:
            return record
        return replace(record, positions=stretched(record, self.stretch, rng))

    def example(self) -> tuple[dict[str, nn.Module], list[Packed]]:
        return {"policy": tiny_decoder()}, example_rows(learnt_from=3)


def stretched(row: Packed, longest: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions int64[T] with up to three gaps, each of up to `longest`, before the first target of a conversation.

    Inside a reply neighbours stay neighbours.
    """
    steps = np.ones(len(row.inputs), dtype=np.int64)
    starts = np.flatnonzero(np.diff(row.segments, prepend=-2))
    learnt = np.flatnonzero(row.targets != IGNORE)
    for start, stop in zip(starts, [*starts[1:], len(steps)], strict=True):
        first = int(np.searchsorted(learnt, start))
        reply = int(learnt[first]) if first < len(learnt) else stop
        if start + 1 < reply < stop and rng.random() < _STRETCHED_SHARE:
            places = rng.integers(start + 1, reply + 1, size=rng.integers(1, _MOST_GAPS + 1))
            np.add.at(steps, places, rng.integers(0, longest + 1, size=len(places)))
    return np.cumsum(steps) - 1
