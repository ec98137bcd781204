"""Sentence order: what ALBERT put in place of the next sentence (Lan et al. 2020, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from chatwright.data.packing import Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed
from chatwright.data.pretraining.pairs import PairRows
from chatwright.models.heads.labels import SENTENCE_ORDER
from chatwright.objectives.pretraining.text import Labelled, Text, example_headed, example_pairs


@dataclass(frozen=True)
class SentenceOrderOptions:
    """There is nothing to choose."""


class SentenceOrder(Labelled):
    """−log p of whether two neighbouring texts stand in their order (label 0) or swapped (label 1), half of each
    (Lan et al. 2020, ALBERT). It needs one document only, and cannot be told by the topic."""

    Options = SentenceOrderOptions
    name: ClassVar[str] = "sentence_order"
    longest: ClassVar[int] = 128

    def __init__(
        self, options: SentenceOrderOptions = SentenceOrderOptions(), facts: TokenFacts | None = None
    ) -> None:
        self.options, self.facts = options, facts
        self.wants = {self.name: SENTENCE_ORDER}

    def rows(self, text: Text) -> Rows[Framed]:
        return PairRows(text.sentences, text.context, text.facts, text.seed, "order")

    def example(self) -> tuple[dict[str, nn.Module], list[Framed]]:
        return {"policy": example_headed(self.wants)}, example_pairs(self.name)
