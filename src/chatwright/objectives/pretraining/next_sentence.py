"""Next sentence: BERT's second objective (Devlin et al. 2019, section 3.1, task 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from chatwright.data.packing import Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed
from chatwright.data.pretraining.pairs import PairRows
from chatwright.data.pretraining.sentences import Sentences
from chatwright.models.heads.labels import NEXT_SENTENCE
from chatwright.objectives.pretraining.text import Labelled, Text, example_headed, example_pairs


@dataclass(frozen=True)
class NextSentenceOptions:
    """There is nothing to choose."""


class NextSentence(Labelled):
    """−log p of whether the second text of a pair follows the first in its document (label 0) or comes from another one
    (label 1), half of each (Devlin et al. 2019). Which one is drawn with the row, from (seed, epoch, row).

    Held-out text that is one document only is measured with strangers from the training text.
    """

    Options = NextSentenceOptions
    name: ClassVar[str] = "next_sentence"
    longest: ClassVar[int] = 128

    def __init__(
        self, options: NextSentenceOptions = NextSentenceOptions(), facts: TokenFacts | None = None
    ) -> None:
        self.options, self.facts = options, facts
        self.wants = {self.name: NEXT_SENTENCE}

    def rows(self, text: Text) -> Rows[Framed]:
        others = None
        if text.elsewhere is not None and np.count_nonzero(text.sentences.counts) < 2:
            others = Sentences.of(text.elsewhere, text.facts)
        return PairRows(text.sentences, text.context, text.facts, text.seed, "next", others)

    def example(self) -> tuple[dict[str, nn.Module], list[Framed]]:
        return {"policy": example_headed(self.wants)}, example_pairs(self.name)
