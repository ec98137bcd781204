"""Judges: what they share, and the one that ranks by a reward."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.config import option
from chatwright.data.records import Comparison, Prompt
from chatwright.errors import UserError
from chatwright.rewards.contract import Reward, row_name, scores_of


@dataclass(frozen=True)
class FunctionJudgeOptions:
    """Rank by a reward."""

    tie: float = option(0.0, "a score this near to the best one of its rank counts as equal to it")

    def __post_init__(self) -> None:
        if not self.tie >= 0:
            raise UserError(f"tie={self.tie} must be 0 or more")


class FunctionJudge:
    """Ranks replies by a reward: a function, a reward model, a mixture. Equal scores are ties."""

    Options = FunctionJudgeOptions

    def __init__(self, options: FunctionJudgeOptions, reward: Reward) -> None:
        self._tie, self._reward = options.tie, reward

    def compare(self, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> list[Comparison | None]:
        """One comparison for each prompt, never None; the reward is called once, with every reply."""
        check_groups(prompts, replies)
        repeated = [prompt for prompt, group in zip(prompts, replies, strict=True) for _ in group]
        scores = scores_of(self._reward, repeated, [reply for group in replies for reply in group])
        found: list[Comparison | None] = []
        for prompt, group in zip(prompts, replies, strict=True):
            found.append(comparison(prompt, group, ranks_of(scores[: len(group)], self._tie)))
            scores = scores[len(group) :]
        return found


def ranks_of(points: Sequence[float], tie: float = 0.0) -> tuple[int, ...]:
    """Ranks from 0, the most points first; points at most `tie` below the best of a rank share it."""
    ranks = [0] * len(points)
    rank, best = -1, float("inf")
    for index in sorted(range(len(points)), key=lambda i: -points[i]):
        if rank < 0 or points[index] < best - tie:
            rank, best = rank + 1, points[index]
        ranks[index] = rank
    return tuple(ranks)


def comparison(prompt: Prompt, replies: Sequence[str], ranks: Sequence[int]) -> Comparison:
    """The comparison of a prompt's replies, with the prompt's source."""
    return Comparison(prompt.messages, tuple(replies), tuple(ranks), source=prompt.source)


def check_groups(prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> None:
    """Raise UserError for a prompt with fewer than two replies, which nobody can compare."""
    assert len(prompts) == len(replies), (len(prompts), len(replies))
    for prompt, group in zip(prompts, replies, strict=True):
        if len(group) < 2:
            raise UserError(
                f"{row_name(prompt)} has {len(group)} replies; a judge needs at least 2 to compare"
            )


def digest(value: Any) -> str:
    """64 hexadecimal digits that stand for a JSON value; the same in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def as_rows(prompt: Prompt) -> list[dict[str, str]]:
    """The messages of a prompt as JSON objects."""
    return [{"role": message.role, "content": message.content} for message in prompt.messages]
