"""Masked tokens: BERT's objective (Devlin et al. 2019, section 3.1, task 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.packing import IGNORE
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed
from chatwright.data.pretraining.words import Words
from chatwright.errors import UserError
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.pretraining.text import (
    BothWays,
    Share,
    Text,
    example_facts,
    example_framed,
    example_headed,
    learnt,
    read,
    token_logits,
)

_SPAN_ENDS = 0.2
_LONGEST_SPAN = 10


@dataclass(frozen=True)
class MaskedOptions:
    """How much is hidden, and how."""

    rate: float = option(0.15, "share of the tokens that are to be told")
    units: Literal["tokens", "words", "spans"] = option(
        "tokens", "what is hidden as a whole: tokens, words, or spans of words of a geometric length"
    )
    mask_share: float = option(0.8, "share of these that become the mask token")
    random_share: float = option(0.1, "share of these that become a random token; the rest stays")

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UserError(f"objective.rate={self.rate:g} must be between 0 and 1")
        if self.mask_share < 0 or self.random_share < 0 or self.mask_share + self.random_share > 1:
            raise UserError(
                f"objective.mask_share={self.mask_share:g} and random_share={self.random_share:g} must be shares: "
                "0 or more, and 1 or less together"
            )


class Masked(BothWays):
    """The sum of −log p(token | the rest) over 15 % of the tokens, drawn anew every epoch: 80 % of these are masked, 10 %
    become a random token, 10 % stay (Devlin et al. 2019). Control tokens are never chosen.

    units `words`: all tokens of a word are chosen together; Chinese words are those of a dictionary (Cui et al. 2021).
    units `spans`: runs of words, geometric with p = 0.2, at most 10 words long, each changed as a whole (Joshi et al. 2020, SpanBERT).
    """

    Options = MaskedOptions
    outputs: ClassVar[tuple[str, ...]] = ("logprobs",)
    accuracies: ClassVar[tuple[str, ...]] = ("masked",)
    is_guest: ClassVar[bool] = True

    def __init__(self, options: MaskedOptions = MaskedOptions(), facts: TokenFacts | None = None) -> None:
        self.options, self.facts = options, facts

    @cached_property
    def _words(self) -> Words:
        assert self.facts is not None
        return Words(self.facts)

    def prepare(self, record: Framed, rng: np.random.Generator) -> Framed:
        assert self.facts is not None, "masking needs the tokenizer's facts"
        usable = (record.segments >= 0) & ~self.facts.special[record.inputs]
        units = self._chosen(record.inputs, np.flatnonzero(usable), rng)
        inputs, targets = record.inputs.copy(), np.full_like(record.targets, IGNORE)
        for unit in units:
            targets[unit] = record.inputs[unit]
            inputs[unit] = self._changed(record.inputs[unit], rng)
        return replace(record, inputs=inputs, targets=targets)

    def _changed(self, ids: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """What stands in place of tokens; a span is changed in one way, words token by token."""
        assert self.facts is not None
        o = self.options
        draws = rng.random(1 if o.units == "spans" else len(ids))
        random = rng.choice(self.facts.ordinary, len(ids))
        changed = np.where(draws < o.mask_share + o.random_share, random, ids)
        return np.where(draws < o.mask_share, self.facts.mask, changed)

    def _chosen(
        self, ids: NDArray[np.int64], usable: NDArray[np.int64], rng: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """The positions to be told, in units that are changed together."""
        wanted = max(1, round(self.options.rate * len(usable)))
        if len(usable) == 0:
            return []
        if self.options.units == "tokens":
            return [rng.choice(usable, wanted, replace=False)]
        starts = self._words.starts(ids)[usable]
        # what control tokens part is never one word
        starts[1:] |= np.diff(usable) > 1
        starts[0] = True
        words = np.split(usable, np.flatnonzero(starts)[1:])
        if self.options.units == "spans":
            return _spans(words, wanted, rng)
        return _within(words, wanted, rng)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"masked": learnt(batch["targets"])}

    def weights(self, step: int) -> dict[str, float]:
        return {"masked": 1.0}

    def sums(self, found: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return {"masked": -found["logprobs"].sum()}

    def shares(self, roots: Roots, batch: Batch) -> dict[str, Share]:
        chosen = batch["targets"] != IGNORE
        hidden = read(roots["policy"], batch, ["hidden"])["hidden"][chosen]
        right = (token_logits(roots["policy"], hidden).argmax(-1) == batch["targets"][chosen]).sum()
        return {"masked": (right, learnt(batch["targets"]))}

    def chances(self, text: Text) -> dict[str, float]:
        """Always telling the commonest token."""
        numbers = np.bincount(text.store.tokens, minlength=len(text.facts.special))[text.facts.ordinary]
        return {"masked": float(numbers.max() / max(1, numbers.sum()))}

    def example(self) -> tuple[dict[str, nn.Module], list[Framed]]:
        self.facts = self.facts or example_facts()
        return {"policy": example_headed(self.wants)}, example_framed()


def _within(words: list[NDArray[np.int64]], wanted: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Words in a random order as long as they fit in the number of wanted tokens; one word at least."""
    chosen, left = [], wanted
    for index in rng.permutation(len(words)).tolist():
        if len(words[index]) <= left:
            chosen.append(words[index])
            left -= len(words[index])
        if left <= 0:
            break
    return chosen or [min(words, key=len)]


def _spans(words: list[NDArray[np.int64]], wanted: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Spans of words, apart from each other, until the number of wanted tokens is reached or nearly so."""
    free, chosen, left = np.ones(len(words), dtype=np.bool_), [], wanted
    for start in rng.permutation(len(words)).tolist():
        length = min(int(rng.geometric(_SPAN_ENDS)), _LONGEST_SPAN, len(words) - start)
        while length and not free[start : start + length].all():
            length -= 1
        while length and sum(map(len, words[start : start + length])) > left:
            length -= 1
        if length:
            chosen.append(np.concatenate(words[start : start + length]))
            free[start : start + length] = False
            left -= len(chosen[-1])
        if left <= 0:
            break
    return chosen or [min(words, key=len)]
