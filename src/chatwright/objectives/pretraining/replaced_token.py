"""Replaced-token detection: which tokens did a generator put in? (Clark et al. 2020, ELECTRA)

Shape suffixes: B rows, T positions, N chosen positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import option
from chatwright.data.packing import IGNORE
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed
from chatwright.errors import UserError
from chatwright.models.heads.labels import REPLACED
from chatwright.models.interop.files import empty_root
from chatwright.models.root import Root
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pretraining.masked import Masked, MaskedOptions
from chatwright.objectives.pretraining.text import (
    BothWays,
    example_facts,
    example_framed,
    example_headed,
    learnt,
    read,
    stack,
    token_logits,
)

_FINEST = 1 << 53


@dataclass(frozen=True)
class ReplacedTokenOptions:
    """How much is replaced, and what finding it weighs."""

    rate: float = option(0.15, "share of the tokens that the generator fills in")
    detection: float = option(50.0, "weight of finding the replaced tokens; the generator's own loss has 1")

    def __post_init__(self) -> None:
        if self.detection <= 0:
            raise UserError(f"objective.detection={self.detection:g} must be more than 0")


class ReplacedToken(BothWays):
    """A generator, trained on masked tokens, samples a token for every mask; the model tells of each token whether it is
    the text's own (Clark et al. 2020, ELECTRA, section 2). No gradient goes from the model to the generator.

    The generator is a root of its own, half as deep as the model, and is thrown away; ELECTRA's is narrower and shares
    the model's embeddings. A sample is the token at a uniform number of the row, drawn from (seed, epoch, row).
    """

    Options = ReplacedTokenOptions
    shares_rows: ClassVar[bool] = False

    def __init__(
        self, options: ReplacedTokenOptions = ReplacedTokenOptions(), facts: TokenFacts | None = None
    ) -> None:
        self.options, self.facts = options, facts
        self.wants = {"replaced_token": REPLACED}

    def more_roots(self, trunk: Root) -> dict[str, Root]:
        smaller = replace(trunk.options, layers=max(1, trunk.options.layers // 2))
        return {"generator": empty_root(smaller, next(trunk.parameters()).device)}

    def prepare(self, record: Framed, rng: np.random.Generator) -> Framed:
        hidden = Masked(MaskedOptions(self.options.rate, mask_share=1.0, random_share=0.0), self.facts)
        row = hidden.prepare(record, rng)
        return replace(row, labels={**row.labels, "draws": rng.integers(_FINEST, size=len(row.inputs))})

    def collate(self, rows: Sequence[Framed]) -> Batch:
        """As `stack`; `draws` are uniform numbers float64[B, T], `real` is true at what may have been replaced."""
        undrawn = np.zeros_like(rows[0].inputs)
        batch = stack([replace(row, labels={"draws": undrawn, **row.labels}) for row in rows])
        draws = batch["draws"].double() / _FINEST
        assert self.facts is not None
        special = torch.from_numpy(self.facts.special)
        real = (batch["segments"] >= 0) & (~special[batch["inputs"]] | (batch["targets"] != IGNORE))
        return Batch({**batch.tensors, "draws": draws, "real": real}, batch.tokens)

    def counts(self, batch: Batch) -> dict[str, int]:
        told, real = learnt(batch["targets"]), int(batch["real"].sum())
        return {"generator": told, **dict.fromkeys(list(self.weights(0))[1:], real)}

    def weights(self, step: int) -> dict[str, float]:
        watched = {"replaced_token_accuracy": 0.0, "replaced_token_chance": 0.0}
        return {"generator": 1.0, "replaced_token": self.options.detection, **watched}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        generator, chosen = roots["generator"], batch["targets"] != IGNORE
        found = read(generator, batch, ["logprobs", "hidden"])
        yield {"generator": -found["logprobs"].sum()}
        with torch.no_grad():
            logits_NV = token_logits(generator, found["hidden"].detach()[chosen])
            samples_N = sample(logits_NV, batch["draws"][chosen])
        inputs = batch["inputs"].masked_scatter(chosen, samples_N)
        replaced = chosen & (inputs != batch["targets"])
        filled = Batch({**batch.tensors, "inputs": inputs}, batch.tokens)
        logits = read(roots["policy"], filled, ["replaced_token"])["replaced_token"].squeeze(-1)
        losses = F.binary_cross_entropy_with_logits(logits, replaced.float(), reduction="none")
        right = (logits.detach() > 0) == replaced
        yield {
            "replaced_token": (losses * batch["real"]).sum(),
            "replaced_token_accuracy": (right & batch["real"]).sum().float(),
            # the accuracy of taking every token for the text's own
            "replaced_token_chance": (~replaced & batch["real"]).sum().float(),
        }

    def example(self) -> tuple[dict[str, nn.Module], list[Framed]]:
        self.facts = self.facts or example_facts()
        return {"policy": example_headed(self.wants), "generator": tiny_decoder(seed=3)}, example_framed()


def sample(logits_NV: Tensor, draws_N: Tensor) -> Tensor:
    """A token of each distribution, int64[N]: where its running sum of chances passes a number from [0, 1)."""
    sums_NV = logits_NV.double().softmax(-1).cumsum(-1)
    scaled_N1 = (draws_N * sums_NV[:, -1])[:, None]
    found_N1 = torch.searchsorted(sums_NV, scaled_N1, right=True)
    return found_N1.squeeze(1).clamp(max=logits_NV.size(1) - 1)
