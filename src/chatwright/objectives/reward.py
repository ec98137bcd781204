"""The reward model's objective: of two replies, the better one scores higher.

Shape suffixes: N sequences, P pairs, K heads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import at_least, option
from chatwright.data.groups import Group
from chatwright.data.records import Comparison
from chatwright.errors import UserError
from chatwright.models.scored import ScoredDecoder
from chatwright.objectives.causal import stir, tiny_shape
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pairs import pair_places, rankings
from chatwright.objectives.replies import collate_replies, example_groups, last_scores


@dataclass(frozen=True)
class RewardOptions:
    """What counts as better, and by how much."""

    smoothing: float = option(0.0, "share of comparisons that are thought to be wrong")
    margins: bool = option(True, "ask for the margin of rows that give one")
    centre: float = option(
        0.0, "weight of the squared mean reward of each pair, which keeps rewards near zero"
    )
    heads: int = option(1, "heads of an ensemble on one trunk, each taught on a resample of its own")

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 0.5:
            raise UserError(f"objective.smoothing={self.smoothing} must be from 0 to below 0.5")
        if self.centre < 0:
            raise UserError(f"objective.centre={self.centre} must be 0 or more")
        at_least(self, 1, "heads", group="objective.")


class PairwiseReward:
    """−log σ(r_w − r_l − margin) over the pairs of a ranking, each ranking counted once whatever its length
    (Ouyang et al. 2022, equation 1; margins as Touvron et al. 2023, section 3.2.2).

    The score of a reply stands at its last token. With several heads each pair counts for each head as often as a
    resample with replacement would draw it (Poisson, Osband et al. 2016), always the same.
    """

    record: type = Comparison
    Options = RewardOptions

    def __init__(self, options: RewardOptions = RewardOptions()) -> None:
        self.options = options

    def prepare(self, record: Group, rng: np.random.Generator) -> Group:
        return record

    def collate(self, rows: Sequence[Group]) -> Batch:
        """As `collate_replies`, with `pair_places` and how often each pair is drawn for each head, `draws` [P, K]."""
        batch, pairs = collate_replies(rows), pair_places(rows)
        draws = torch.tensor([self._draws(group) for group in rows], dtype=torch.float32)
        return replace(batch, tensors={**batch.tensors, **pairs, "draws": draws[pairs["ranking"]]})

    def _draws(self, group: Group) -> Sequence[float]:
        if self.options.heads == 1:
            return [1.0]
        content = b"".join(reply.ids.astype(np.int64).tobytes() for reply in group.replies)
        draws: list[float] = (
            np.random.default_rng(zlib.crc32(content)).poisson(1.0, self.options.heads).tolist()
        )
        return draws

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), rankings(batch))

    def weights(self, step: int) -> dict[str, float]:
        centre = {"centre": self.options.centre} if self.options.centre else {}
        return {"pairwise": 1.0, **centre, "accuracy": 0.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        scores_NK = last_scores(roots["reward"], batch)
        better_PK, worse_PK = scores_NK[batch["better"]], scores_NK[batch["worse"]]
        margins = batch.tensors.get("margin")
        margin = margins[batch["better"]][:, None] if margins is not None and self.options.margins else 0.0
        share_P = batch["share"]
        losses_PK = pairwise_losses(better_PK - worse_PK - margin, self.options.smoothing)
        with torch.no_grad():
            # a tie counts half, so that swapped pairs turn an accuracy a into 1 − a
            right_P = 0.5 * (1 + (better_PK - worse_PK).mean(1).sign())
        terms = {
            "pairwise": ((losses_PK * batch["draws"]).mean(1) * share_P).sum(),
            "accuracy": (right_P * share_P).sum(),
        }
        if self.options.centre:
            terms["centre"] = (((better_PK + worse_PK) / 2).square().mean(1) * share_P).sum()
        yield terms

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        model = ScoredDecoder(tiny_shape(), self.options.heads)
        model.initialize(torch.Generator().manual_seed(0))
        return {"reward": stir(model)}, example_groups(replies=3)


def pairwise_losses(differences: Tensor, smoothing: float = 0.0) -> Tensor:
    """−(1 − ε) log σ(d) − ε log σ(−d), elementwise."""
    losses = -F.logsigmoid(differences)
    return losses if not smoothing else (1 - smoothing) * losses - smoothing * F.logsigmoid(-differences)
