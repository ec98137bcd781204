"""Contrastive sentence embeddings: two views of a text lie closer than two texts (Gao et al. 2021, SimCSE).

Shape suffixes: N texts, T positions, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.config import at_least, option
from chatwright.data.packing import IGNORE, Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, frame
from chatwright.data.pretraining.framed_groups import FramedGroup, SentenceGroups, flat
from chatwright.errors import UserError
from chatwright.models.heads.labels import HeadOptions
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pretraining.text import (
    BothWays,
    Text,
    example_facts,
    example_headed,
    labelled,
    read,
    stack,
)


@dataclass(frozen=True)
class ContrastiveOptions:
    """How many texts are told apart, and how the views differ."""

    group: int = option(32, "texts that are compared with each other")
    cutoff: float = option(0.2, "share of the tokens that a view does without")
    temperature: float = option(0.05, "divides the cosines")

    def __post_init__(self) -> None:
        at_least(self, 2, "group", group="objective.")
        if not 0 < self.cutoff < 1:
            raise UserError(f"objective.cutoff={self.cutoff:g} must be between 0 and 1")
        if self.temperature <= 0:
            raise UserError(f"objective.temperature={self.temperature:g} must be more than 0")


class Contrastive(BothWays):
    """−log of the softmax, over the texts of a group, of cos(a, b) / τ between two views of the same text (Gao et al.
    2021, SimCSE, equation 1, unsupervised).

    SimCSE's views differ by dropout, which our models do without; here each view has the mask in place of a share of its
    tokens, drawn for every view by itself (token cutoff, Yan et al. 2021, ConSERT). A text that stands twice in a group
    is no negative of itself.
    """

    Options = ContrastiveOptions
    longest: ClassVar[int] = 64
    shares_rows: ClassVar[bool] = False

    def __init__(
        self, options: ContrastiveOptions = ContrastiveOptions(), facts: TokenFacts | None = None
    ) -> None:
        self.options, self.facts = options, facts
        self.wants = {"contrastive": HeadOptions("embedding", normalized=True)}

    @property
    def sequences(self) -> int:
        """Rows of the model in one row of the source."""
        return 2 * self.options.group

    def rows(self, text: Text) -> Rows[FramedGroup]:
        return SentenceGroups(text.sentences, text.context, text.facts, self.options.group, text.seed)

    def prepare(self, record: FramedGroup, rng: np.random.Generator) -> FramedGroup:  # type: ignore[override]
        assert self.facts is not None, "views need the tokenizer's facts"
        first, second = (
            tuple(self._view(row, rng) for row in rows) for rows in (record.first, record.second)
        )
        known: dict[bytes, int] = {}
        same = [known.setdefault(row.inputs.tobytes(), len(known)) for row in record.first]
        return replace(record, first=first, second=second, same=np.array(same))

    def _view(self, row: Framed, rng: np.random.Generator) -> Framed:
        assert self.facts is not None
        usable = np.flatnonzero((row.segments >= 0) & ~self.facts.special[row.inputs])
        # one token at least stays, and one goes
        count = min(max(1, round(self.options.cutoff * len(usable))), len(usable) - 1)
        inputs = row.inputs.copy()
        inputs[rng.choice(usable, max(0, count), replace=False)] = self.facts.mask
        return replace(row, inputs=inputs)

    def collate(self, rows: Sequence[FramedGroup]) -> Batch:  # type: ignore[override]
        batch = stack(flat(rows))
        sizes = [len(group.first) for group in rows]
        group_N = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(sizes))
        real_N = torch.tensor([group.real for group in rows])[group_N]
        same = [np.arange(len(group.first)) if group.same is None else group.same for group in rows]
        more = {
            "group": group_N,
            "same": torch.from_numpy(np.concatenate(same)),
            "label": torch.where(real_N, torch.arange(len(group_N)), IGNORE),
        }
        return Batch({**batch.tensors, **more}, batch.tokens)

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), int((batch["label"] != IGNORE).sum()))

    def weights(self, step: int) -> dict[str, float]:
        return {"contrastive": 1.0, "contrastive_accuracy": 0.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        texts_NW = read(roots["policy"], batch, ["contrastive"])["contrastive"]
        first_NW, second_NW = texts_NW.chunk(2)
        group_N, same_N, label_N = batch["group"], batch["same"], batch["label"]
        others_NN = (group_N[:, None] == group_N) & (same_N[:, None] != same_N)
        own_NN = torch.eye(len(group_N), dtype=torch.bool, device=group_N.device)
        cosines_NN = (first_NW @ second_NW.T) / self.options.temperature
        loss, right = labelled(cosines_NN.masked_fill(~(others_NN | own_NN), float("-inf")), label_N)
        yield {"contrastive": loss, "contrastive_accuracy": right}

    def chances(self, text: Text) -> dict[str, float]:
        return {"contrastive": 1 / self.options.group}

    def example(self) -> tuple[dict[str, nn.Module], list[FramedGroup]]:
        self.facts = self.facts or example_facts()
        rng, groups = np.random.default_rng(0), []
        for _ in range(12):
            # all begin alike, so that there is something to learn
            ends = [np.append(np.arange(4), rng.integers(4, 60, rng.integers(3, 7))) for _ in range(3)]
            texts = [frame([ids], self.facts, 12) for ids in ends]
            groups.append(FramedGroup(tuple(texts), tuple(texts)))
        return {"policy": example_headed(self.wants)}, groups
