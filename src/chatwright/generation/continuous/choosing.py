"""The next token of each reply, by its own request's options.

Shape suffixes: B replies, V vocabulary, K likeliest tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chatwright.generation.continuous.contract import Ask
from chatwright.generation.sampling import (
    SamplingOptions,
    next_tokens,
    seen_tokens,
    settled_seed,
    token_logprobs,
)


class Choice:
    """How one reply's tokens are chosen, and what that depends on: its chance, and what stands there already."""

    def __init__(self, ask: Ask, vocab_size: int) -> None:
        self.ask, self.options = ask, ask.sampling
        seed = np.random.SeedSequence((settled_seed(ask.sampling), ask.row))
        # as `sampling.chances`, one number at a time
        self._random = np.random.Generator(np.random.Philox(seed=seed))
        self.seen_1V = seen_tokens([ask.prompt], vocab_size) if ask.sampling.repetition_penalty != 1 else None
        self._counts: Counter[int] = Counter()
        self.banned = torch.tensor(sorted(ask.vocabulary.banned), dtype=torch.long)
        self._biased = torch.tensor(list(ask.logit_bias), dtype=torch.long)
        self._biases = torch.tensor(list(ask.logit_bias.values()))
        self._penalties = (ask.presence_penalty, ask.frequency_penalty)

    @property
    def key(self) -> tuple[float, ...]:
        """Replies with the same key may be chosen for together."""
        o = self.options
        if o.is_greedy:
            return (0.0, o.repetition_penalty)
        return (o.temperature, o.top_k, o.top_p, o.min_p, o.repetition_penalty)

    def chance(self) -> float:
        return 0.0 if self.options.is_greedy else float(self._random.random())

    def change(self, logits_V: Tensor) -> None:
        """Add bias and penalties to a row of logits, and follow the constraint. Raises what the constraint raises."""
        if self._biased.numel():
            logits_V[self._biased] += self._biases
        if self._counts:
            presence, frequency = self._penalties
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits_V[torch.tensor(list(self._counts))] -= presence + frequency * counts
        allowed_V = None if self.ask.constraint is None else self.ask.constraint.allowed()
        if allowed_V is not None:
            logits_V.masked_fill_(~allowed_V, float("-inf"))
            if logits_V.max() == float("-inf"):
                raise ValueError("the constraint allows no token that may be written")

    def take(self, token: int) -> None:
        """Count the chosen token. Raises what the constraint raises."""
        if self.seen_1V is not None:
            self.seen_1V[0, token] = True
        if any(self._penalties):
            self._counts[token] += 1
        if self.ask.constraint is not None:
            self.ask.constraint.accept(token)


def without_banned(logits_BV: Tensor, choices: Sequence[Choice]) -> Tensor:
    """A copy of the logits without what each reply may never write."""
    kept_BV = logits_BV.clone()
    groups: dict[frozenset[int], list[int]] = {}
    for place, choice in enumerate(choices):
        groups.setdefault(choice.ask.vocabulary.banned, []).append(place)
    for banned, places in groups.items():
        if not banned:
            continue
        ids = choices[places[0]].banned
        if len(places) == len(choices):
            kept_BV.index_fill_(1, ids, float("-inf"))
        else:
            kept_BV[places] = kept_BV[places].index_fill(1, ids, float("-inf"))
    return kept_BV


def chosen(logits_BV: Tensor, choices: Sequence[Choice]) -> list[int]:
    """One token for each reply, of its changed logits; those with the same key together."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for place, choice in enumerate(choices):
        groups.setdefault(choice.key, []).append(place)
    tokens = [0] * len(choices)
    for places in groups.values():
        members = [choices[place] for place in places]
        rows_BV = logits_BV if len(places) == len(choices) else logits_BV[places]
        found = _next(rows_BV, members[0].options, members)
        for place, token in zip(places, found.tolist(), strict=True):
            tokens[place] = token
    return tokens


def _next(rows_BV: Tensor, options: SamplingOptions, members: Sequence[Choice]) -> Tensor:
    chance_B = torch.tensor([member.chance() for member in members], dtype=torch.float64)
    seen = [member.seen_1V for member in members if member.seen_1V is not None]
    return next_tokens(rows_BV, options, chance_B, torch.cat(seen) if seen else None)


def logprob_of(logits_V: Tensor, token: int, temperature: float) -> float:
    """As `sampling.token_logprobs`, of one token."""
    return float(token_logprobs(logits_V[None], torch.tensor([token]), temperature))


def likeliest(logits_V: Tensor, count: int, temperature: float) -> list[tuple[int, float]]:
    """The likeliest tokens of the full distribution with their log-probabilities, from the first on."""
    scaled_V = logits_V / temperature if temperature else logits_V
    values_K, ids_K = scaled_V.topk(min(count, scaled_V.numel()))
    return list(zip(ids_K.tolist(), (values_K - scaled_V.logsumexp(dim=0)).tolist(), strict=True))
