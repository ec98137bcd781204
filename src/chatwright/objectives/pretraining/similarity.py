"""Similarity of sentence pairs that people scored (Reimers and Gurevych 2019, Sentence-BERT).

Shape suffixes: N pairs, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.config import at_least, option
from chatwright.data.packing import Rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import frame
from chatwright.data.pretraining.framed_groups import FramedGroup, flat
from chatwright.data.pretraining.scored_pairs import ScoredPairs, read_scored
from chatwright.errors import UserError
from chatwright.models.heads.labels import HeadOptions
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pretraining.text import BothWays, Text, example_facts, example_headed, read, stack


@dataclass(frozen=True)
class SimilarityOptions:
    """Where the scored pairs are, and how they are learnt."""

    file: Path | None = option(None, 'a file of {"a": …, "b": …, "score": …} a line, scores 0 to 1 or 0 to 5')
    loss: Literal["cosine", "cosent"] = option(
        "cosine", "cosine: its squared distance from the score; cosent: the pairs' order only"
    )
    group: int = option(16, "pairs whose order is compared with each other")
    temperature: float = option(0.05, "divides the differences of cosines in cosent")

    def __post_init__(self) -> None:
        at_least(self, 2, "group", group="objective.")
        if self.temperature <= 0:
            raise UserError(f"objective.temperature={self.temperature:g} must be more than 0")


class Similarity(BothWays):
    """(cos(a, b) − score)² between the embeddings of two texts (Reimers and Gurevych 2019, section 3, regression), or
    with loss `cosent` log(1 + Σ exp((cos of a pair − cos of a pair with a higher score) / τ)) over a group of pairs
    (Huang et al. 2024, CoSENT), one term a group."""

    Options = SimilarityOptions
    longest: ClassVar[int] = 64
    shares_rows: ClassVar[bool] = False

    def __init__(
        self, options: SimilarityOptions = SimilarityOptions(), facts: TokenFacts | None = None
    ) -> None:
        self.options, self.facts = options, facts
        self.wants = {"similarity": HeadOptions("embedding", normalized=True)}

    @property
    def sequences(self) -> int:
        """Rows of the model in one row of the source."""
        return 2 * self.options.group

    def files(self) -> Sequence[str | Path]:
        return [self.options.file] if self.options.file else []

    def rows(self, text: Text) -> Rows[FramedGroup]:
        if self.options.file is None:
            raise UserError(
                "objective=similarity needs scored pairs: objective.file=PAIRS.jsonl (similarity.file in a mixture)"
            )
        pairs = read_scored(self.options.file, text.held_out)
        return ScoredPairs(pairs, text.tokenizer, text.facts, text.context, self.options.group, text.seed)

    def prepare(self, record: FramedGroup, rng: np.random.Generator) -> FramedGroup:  # type: ignore[override]
        return record

    def collate(self, rows: Sequence[FramedGroup]) -> Batch:  # type: ignore[override]
        batch = stack(flat(rows))
        scores = [np.zeros(len(g.first), np.float32) if g.scores is None else g.scores for g in rows]
        group_N = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(s) for s in scores]))
        real_N = torch.tensor([group.real for group in rows])[group_N]
        more = {"group": group_N, "real": real_N, "score": torch.from_numpy(np.concatenate(scores))}
        return Batch({**batch.tensors, **more}, batch.tokens)

    def counts(self, batch: Batch) -> dict[str, int]:
        real_N = batch["real"]
        pairs = int(real_N.sum())
        groups = len(set(batch["group"][real_N].tolist()))
        return {"similarity": pairs if self.options.loss == "cosine" else groups, "similarity_error": pairs}

    def weights(self, step: int) -> dict[str, float]:
        return {"similarity": 1.0, "similarity_error": 0.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        first_NW, second_NW = read(roots["policy"], batch, ["similarity"])["similarity"].chunk(2)
        cosine_N = (first_NW * second_NW).sum(-1)
        errors_N = (cosine_N - batch["score"]) * batch["real"]
        loss = errors_N.square().sum() if self.options.loss == "cosine" else self._cosent(cosine_N, batch)
        yield {"similarity": loss, "similarity_error": errors_N.detach().abs().sum()}

    def _cosent(self, cosine_N: Tensor, batch: Batch) -> Tensor:
        group_N, score_N = batch["group"], batch["score"]
        together_NN = (group_N[:, None] == group_N) & (batch["real"][:, None] & batch["real"])
        wrong_NN = (cosine_N[:, None] - cosine_N) / self.options.temperature
        # in each row a pair, in each column one that should be more alike
        wrong_NN = wrong_NN.masked_fill(~(together_NN & (score_N[:, None] < score_N)), float("-inf"))
        losses = []
        for group in range(int(group_N.max()) + 1):
            own = wrong_NN[group_N == group].flatten()
            losses.append(torch.logsumexp(torch.cat([own.new_zeros(1), own]), 0))
        return torch.stack(losses).sum()

    def example(self) -> tuple[dict[str, nn.Module], list[FramedGroup]]:
        facts = self.facts = self.facts or example_facts()
        rng, groups = np.random.default_rng(0), []
        for _ in range(12):
            texts = [rng.integers(0, 60, rng.integers(3, 10)) for _ in range(3)]
            firsts = tuple(frame([ids], facts, 12) for ids in texts)
            seconds = tuple(frame([ids[::-1] if n else ids + 0], facts, 12) for n, ids in enumerate(texts))
            groups.append(FramedGroup(firsts, seconds, np.array([1.0, 0.5, 0.0], np.float32)))
        return {"policy": example_headed(self.wants)}, groups
