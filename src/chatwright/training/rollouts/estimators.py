"""From a rollout's scores to advantages for every token: with a value model (PPO), or by groups of replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chatwright.config import option
from chatwright.data.groups import Reply
from chatwright.errors import UserError
from chatwright.training.rollouts.advantages import (
    Baseline,
    adapted_coefficient,
    explained_variance,
    generalized_advantages,
    group_advantages,
    token_rewards,
    whitened,
)
from chatwright.training.rollouts.experience import Sampled


@dataclass(frozen=True)
class KLOptions:
    """How strongly the policy is held to the reference."""

    coefficient: float = option(0.05, "β: what a nat of divergence costs, in units of the judge's deviation")
    target: float | None = option(None, "nats a reply that an adaptive β steers to; none: β stays as it is")
    horizon: float = option(10_000.0, "replies over which an adaptive β moves")

    def __post_init__(self) -> None:
        if self.coefficient < 0:
            raise UserError(f"kl.coefficient={self.coefficient} must be 0 or more")
        if (self.target is not None and self.target <= 0) or self.horizon <= 0:
            raise UserError("kl.target and kl.horizon must be more than 0")


class Divergence:
    """β, fixed or adaptive (Ziegler et al. 2019, section 2.2)."""

    def __init__(self, options: KLOptions) -> None:
        self.options, self.coefficient = options, options.coefficient

    def adapt(self, kl: float, replies: int) -> None:
        """Move β after a rollout of that mean divergence in nats a reply."""
        o = self.options
        if o.target is not None:
            self.coefficient = adapted_coefficient(self.coefficient, kl, o.target, replies, o.horizon)

    def state_dict(self) -> dict[str, Any]:
        return {"kl_coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.coefficient = float(state["kl_coefficient"])


class ValueEstimator:
    """Generalized advantages over a value model, divergence taken from the reward of each token (Ouyang et al. 2022).

    Returns are made before advantages are whitened over the tokens of the whole rollout.
    """

    def __init__(
        self, kl: KLOptions, discount: float = 1.0, decay: float = 0.95, whiten_rewards: bool = False
    ) -> None:
        self.divergence = Divergence(kl)
        self._discount, self._decay, self._whiten_rewards = discount, decay, whiten_rewards

    def __call__(self, samples: Sequence[Sampled]) -> tuple[list[Reply], dict[str, float]]:
        beta, kls = self.divergence.coefficient, _divergences(samples)
        rewards = [
            token_rewards(_log_ratios(sample.reply), sample.number("score"), beta) for sample in samples
        ]
        if self._whiten_rewards:
            rewards = whitened(rewards, centred=False)
        values = [sample.reply.tokens["old_values"] for sample in samples]
        found = [
            generalized_advantages(r, v, self._discount, self._decay)
            for r, v in zip(rewards, values, strict=True)
        ]
        returns = [back for _, back in found]
        advantages = whitened([advantage for advantage, _ in found])
        replies = [
            _with_tokens(sample.reply, advantages=a, returns=b)
            for sample, a, b in zip(samples, advantages, returns, strict=True)
        ]
        facts = {
            "kl": float(np.mean(kls)),
            "kl_coefficient": beta,
            "entropy": _entropy(samples),
            "explained_variance": explained_variance(np.concatenate(values), np.concatenate(returns)),
        }
        self.divergence.adapt(facts["kl"], len(samples))
        return replies, facts

    def state_dict(self) -> dict[str, Any]:
        return self.divergence.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.divergence.load_state_dict(state)


class GroupEstimator:
    """Advantages among the replies to one prompt, the same for all tokens of a reply: GRPO, Dr. GRPO, RLOO.

    With a coefficient, the divergence of the whole reply is taken from its score first (RLOO, Ahmadian et al. 2024).
    """

    def __init__(self, size: int, baseline: Baseline, kl: KLOptions) -> None:
        self.divergence, self._size, self._baseline = Divergence(kl), size, baseline

    def __call__(self, samples: Sequence[Sampled]) -> tuple[list[Reply], dict[str, float]]:
        beta, kls = self.divergence.coefficient, _divergences(samples)
        scores = np.array([sample.number("score") for sample in samples])
        totals = (scores - beta * np.array(kls) if kls else scores).reshape(-1, self._size)
        advantages = np.concatenate([group_advantages(group, self._baseline) for group in totals])
        replies = [
            _with_tokens(
                sample.reply, advantages=np.full(len(sample.reply.ids) - sample.reply.start, a, np.float32)
            )
            for sample, a in zip(samples, advantages, strict=True)
        ]
        facts = {"equal_groups": float(np.mean(np.ptp(totals, axis=1) == 0))}
        if kls:
            facts |= {"kl": float(np.mean(kls)), "kl_coefficient": beta, "entropy": _entropy(samples)}
            self.divergence.adapt(facts["kl"], len(samples))
        return replies, facts

    def state_dict(self) -> dict[str, Any]:
        return self.divergence.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.divergence.load_state_dict(state)


def _log_ratios(reply: Reply) -> np.ndarray:
    return reply.tokens["old_logprobs"] - reply.tokens["reference_logprobs"]


def _divergences(samples: Sequence[Sampled]) -> list[float]:
    """Σ log π / π_ref of each reply; none where there is no reference."""
    known = "reference_logprobs" in samples[0].reply.tokens
    return [float(_log_ratios(sample.reply).sum()) for sample in samples] if known else []


def _entropy(samples: Sequence[Sampled]) -> float:
    return float(np.concatenate([sample.reply.tokens["entropy"] for sample in samples]).mean())


def _with_tokens(reply: Reply, **tokens: np.ndarray) -> Reply:
    return replace(reply, tokens={**reply.tokens, **tokens})
