"""From logits to the next tokens: greedy, temperature, top-k, top-p, min-p, repetition penalty.

Everything is a pure function of its arguments. Chance comes in as one number between 0 and 1 a row, a function of
(seed, row, step) alone, so what a row draws does not depend on what else is in the batch.

Shape suffixes: B batch, V vocabulary.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatwright.config import option
from chatwright.errors import UserError

_FEW = 256

# Logits over less than this overflow, and only the likeliest token is left anyway.
_COLD = 1e-6


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen. The defaults vary the wording without losing the thread; 0 is greedy."""

    max_new_tokens: int = option(256, "the most tokens to write")
    temperature: float = option(0.7, "divides the logits; 0: always the likeliest token")
    top_k: int = option(0, "choose among the k likeliest tokens; 0: among all")
    top_p: float = option(
        0.95, "choose among the likeliest tokens that hold this much probability; 1: among all"
    )
    min_p: float = option(
        0.0, "leave out tokens less likely than this share of the likeliest one's probability"
    )
    repetition_penalty: float = option(1.0, "above 1: tokens that stand there already become less likely")
    seed: int | None = option(None, "the same seed writes the same text; none: another text each time")
    stop: tuple[str, ...] = option((), "texts that end the answer, and are left out of it")

    def __post_init__(self) -> None:
        _within("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1")
        _within("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 or more")
        if self.temperature < _COLD:
            object.__setattr__(self, "temperature", 0.0)
        _within("top_k", self.top_k, self.top_k >= 0, "0 or more")
        _within("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        _within("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1")
        _within(
            "repetition_penalty", self.repetition_penalty, 0 < self.repetition_penalty < math.inf, "above 0"
        )
        _within("seed", self.seed, self.seed is None or self.seed >= 0, "0 or more")
        stop: object = self.stop
        if isinstance(stop, str):
            raise UserError(f"stop={stop!r} must be a list of texts; write stop=({stop!r},)")
        _within("stop", list(self.stop), all(self.stop), "texts that are not empty")

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0


def _within(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UserError(f"{name}={value} must be {wanted}")


def next_tokens(
    logits_BV: Tensor,
    options: SamplingOptions,
    chance_B: Tensor | None = None,
    seen_BV: Tensor | None = None,
) -> Tensor:
    """Choose one token a row: repetition penalty, temperature, top-k, top-p, min-p, then the draw. Returns [B].

    chance: [B] float64 in [0, 1), not needed when greedy; seen: [B, V] true where the token stands in the text.
    """
    if seen_BV is not None and options.repetition_penalty != 1:
        logits_BV = penalize(logits_BV, seen_BV, options.repetition_penalty)
    if options.is_greedy:
        return logits_BV.argmax(dim=-1)
    assert chance_B is not None, "sampling needs a number a row"
    probs_BV, ids_BV = _candidates(logits_BV / options.temperature, options)
    place_B = draw(truncate(probs_BV, options.top_p, options.min_p), chance_B)
    return place_B if ids_BV is None else ids_BV.gather(1, place_B[:, None]).squeeze(1)


def _candidates(logits_BV: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor | None]:
    """Probabilities, and their ids from the likeliest on; ids are None where the order does not matter."""
    size = logits_BV.size(-1)
    if options.top_k:
        values, ids = logits_BV.topk(min(options.top_k, size), dim=-1)
        return values.double().softmax(dim=-1), ids
    if options.top_p == 1:
        return logits_BV.double().softmax(dim=-1), None
    # A full sort costs more than a small model's step, and a few hundred tokens nearly always hold all of top-p.
    total_B1 = logits_BV.double().logsumexp(dim=-1, keepdim=True)
    for count in (min(_FEW, size), size):
        values, ids = logits_BV.topk(count, dim=-1)
        probs_BV = (values.double() - total_B1).exp()
        if count == size or bool((probs_BV.sum(dim=-1) >= options.top_p).all()):
            break
    return probs_BV, ids


def penalize(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Divide the positive and multiply the negative logits of seen tokens (Keskar et al. 2019, CTRL, section 4.1)."""
    penalized = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, penalized, logits_BV)


def truncate(probs_BV: Tensor, top_p: float = 1.0, min_p: float = 0.0) -> Tensor:
    """Put to zero what top-p, then min-p leave out; the likeliest always stays. Top-p needs rows sorted from it on.

    Top-p (Holtzman et al. 2020) keeps the shortest beginning that holds at least `top_p`; min-p (Nguyen et al. 2024)
    keeps what is at least `min_p` times as likely as the likeliest. Rows are not normalized again.
    """
    if top_p < 1:
        before_BV = probs_BV.cumsum(dim=-1) - probs_BV
        probs_BV = probs_BV.masked_fill(before_BV >= top_p, 0.0)
    if min_p > 0:
        probs_BV = probs_BV.masked_fill(probs_BV < min_p * probs_BV.amax(dim=-1, keepdim=True), 0.0)
    return probs_BV


def draw(probs_BV: Tensor, chance_B: Tensor) -> Tensor:
    """The place where the running sum of a row passes `chance` times its total. Returns [B].

    A place of probability 0 is never drawn.
    """
    sums_BV = probs_BV.cumsum(dim=-1)
    mark_B1 = (chance_B.to(sums_BV) * sums_BV[:, -1])[:, None]
    place = torch.searchsorted(sums_BV, mark_B1, right=True).squeeze(1)
    last = (probs_BV > 0).long().cumsum(dim=-1).argmax(dim=-1)
    return torch.minimum(place, last)


def chances(seed: int, row: int, steps: int) -> NDArray[np.float64]:
    """The numbers in [0, 1) that row `row` draws with, float64[steps]: a longer row begins with a shorter one's."""
    return np.random.Generator(np.random.Philox(seed=np.random.SeedSequence((seed, row)))).random(steps)


def settled_seed(options: SamplingOptions) -> int:
    """The seed of the options, or a new one."""
    return secrets.randbits(32) if options.seed is None else options.seed


def token_logprobs(logits_BV: Tensor, ids_B: Tensor, temperature: float) -> Tensor:
    """Log-probability of each chosen token under the full distribution at `temperature` (0 counts as 1). [B]."""
    scaled = logits_BV / temperature if temperature else logits_BV
    return scaled.gather(1, ids_B[:, None]).squeeze(1) - scaled.logsumexp(dim=-1)


def seen_tokens(prompts: Sequence[Sequence[int]], vocab_size: int) -> Tensor:
    """True where a token stands in a row's prompt: [B, V]."""
    seen = torch.zeros(len(prompts), vocab_size, dtype=torch.bool)
    for row, ids in enumerate(prompts):
        seen[row, torch.as_tensor(ids, dtype=torch.long)] = True
    return seen
