"""Positions of sentences: shuffled ones are put back in order (Lee et al. 2020, SLM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from chatwright.config import at_least, option
from chatwright.data.packing import Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed
from chatwright.data.pretraining.shuffled import ShuffledRows, shuffled
from chatwright.models.heads.labels import numbered
from chatwright.objectives.pretraining.text import Labelled, Text, example_facts, example_headed


@dataclass(frozen=True)
class PositionOptions:
    """How many pieces are shuffled."""

    pieces: int = option(4, "pieces of neighbouring sentences in a row")

    def __post_init__(self) -> None:
        at_least(self, 2, "pieces", group="objective.")


class Position(Labelled):
    """−log p of the place that each of n shuffled pieces had in its document, told at the `[SEP]` after it
    (Lee et al. 2020, SLM, whose sentences are put in order by a pointer; here each is given its number by a head of n labels)."""

    Options = PositionOptions
    name: ClassVar[str] = "position"
    longest: ClassVar[int] = 256

    def __init__(self, options: PositionOptions = PositionOptions(), facts: TokenFacts | None = None) -> None:
        self.options, self.facts = options, facts
        self.wants = {self.name: numbered(options.pieces, "token")}

    def rows(self, text: Text) -> Rows[Framed]:
        return ShuffledRows(text.sentences, text.context, text.facts, self.options.pieces, text.seed)

    def example(self) -> tuple[dict[str, nn.Module], list[Framed]]:
        rng, rows = np.random.default_rng(0), []
        for _ in range(12):
            texts = [
                rng.integers(0, 8, rng.integers(2, 5)) + 10 * place for place in range(self.options.pieces)
            ]
            rows.append(shuffled(texts, rng.permutation(len(texts)), example_facts(), 32, self.name))
        return {"policy": example_headed(self.wants)}, rows
