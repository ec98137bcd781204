"""What the verbs that learn from their own replies measure on held-out prompts while they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chatwright.data.records import Prompt
from chatwright.evaluation.winning import compared
from chatwright.generation.text import TextModel, replies
from chatwright.models.decoder import Decoder
from chatwright.rewards.contract import Reward, scores_of
from chatwright.tokenization.chat import Renderer

_SHOWN = 8


@dataclass(frozen=True)
class Held:
    """Prompts that are only measured on, who scores replies to them, and the field by whose values scores are shown."""

    prompts: Sequence[Prompt]
    reward: Reward
    gold: Reward | None
    split_by: str | None = None
    max_new_tokens: int = 128

    @property
    def best(self) -> str:
        """The number that says most."""
        return "reward" if self.gold is None else "gold"


@dataclass(frozen=True)
class _Answered:
    """Greedy replies with their scores: `reward`, and `gold` where there is one."""

    texts: list[str]
    scores: dict[str, list[float]]


class Measuring:
    """Measures greedy replies: reward and gold, length, and the win rate against those of the start.

    `start` loads the model that training began from; its replies are made once.
    """

    def __init__(self, held: Held, policy: Decoder, start: Callable[[], Decoder], renderer: Renderer) -> None:
        self._held, self._policy, self._start, self._renderer = held, policy, start, renderer
        self._before: _Answered | None = None

    def __call__(self, step: int) -> dict[str, Any]:
        """The numbers of one evaluation."""
        if self._before is None:
            model = self._start()
            model.compute_dtype = self._policy.compute_dtype
            self._before = self._answered(model)
        before, after = self._before, self._answered(self._policy)
        won = compared(after.scores[self._held.best], before.scores[self._held.best])
        sizes = [len(ids) for ids in self._renderer.tokenizer.encode_batch(after.texts)]
        return {
            **{name: round(float(np.mean(values)), 5) for name, values in after.scores.items()},
            **self._by_value(after.scores[self._held.best]),
            "length": round(float(np.mean(sizes)), 2),
            "win_rate": won.rate,
            "win_interval": list(won.interval),
            "before_after": self._side_by_side(before, after),
        }

    def _answered(self, model: Decoder) -> _Answered:
        held, prompts = self._held, self._held.prompts
        texts = replies(
            TextModel(model, self._renderer.tokenizer, self._renderer),
            [prompt.messages for prompt in prompts],
            temperature=0.0,
            max_new_tokens=held.max_new_tokens,
        )
        judges = {"reward": held.reward, **({"gold": held.gold} if held.gold else {})}
        return _Answered(texts, {name: scores_of(judge, prompts, texts) for name, judge in judges.items()})

    def _by_value(self, scores: Sequence[float]) -> dict[str, float]:
        """The mean of each value of the field that scores are shown by."""
        field = self._held.split_by
        if field is None:
            return {}
        places: dict[str, list[float]] = {}
        for prompt, score in zip(self._held.prompts, scores, strict=True):
            places.setdefault(str(prompt.facts.get(field, "none")), []).append(score)
        return {
            f"{self._held.best}: {value}": round(float(np.mean(found)), 5)
            for value, found in sorted(places.items())
        }

    def _side_by_side(self, before: _Answered, after: _Answered) -> list[Mapping[str, Any]]:
        """Some prompts, evenly from all, with both replies."""
        count = len(self._held.prompts)
        places = sorted({count * number // _SHOWN for number in range(_SHOWN)})
        return [
            {
                "prompt": self._held.prompts[place].messages[-1].content,
                "before": before.texts[place],
                "after": after.texts[place],
                "reward_before": before.scores["reward"][place],
                "reward_after": after.scores["reward"][place],
            }
            for place in places
        ]
