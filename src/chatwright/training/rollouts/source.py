"""Online learning as a source of batches.

    prompts ─ sample ─ score ─ (gather over ranks) ─ advantages ─ minibatches ─ micro-batches

Every `passes × minibatches` optimizer steps a new rollout is made with the policy as it stands then. Replies are shared
out over the processes to be sampled and gathered before advantages are worked out, so that the number of processes
changes neither what is sampled nor any gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatwright.data.groups import Group, Reply, by_prompt, by_tokens
from chatwright.distributed.launch import World
from chatwright.objectives.contract import Batch, Objective
from chatwright.training.loop import Source, Step
from chatwright.training.rollouts.experience import Asked, Experience, Sampled
from chatwright.training.rollouts.options import RolloutOptions
from chatwright.training.sources import even_parts, shared_out

_SAMPLES_SHOWN = 4
_KEPT = ("advantages", "old_logprobs", "reference_logprobs", "old_values", "returns")


class Estimator(Protocol):
    """Advantages from a whole rollout; what it learns on the way (an adaptive coefficient) is its state."""

    def __call__(self, samples: Sequence[Sampled]) -> tuple[list[Reply], dict[str, float]]:
        """The replies, in order, with `advantages` (and `returns`) for every token; and numbers to log."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Cutting:
    """How a rollout is cut: its size in prompts and replies, its passes and steps, and the micro-batches; whether groups
    of equal rewards are left out."""

    prompts: int
    replies: int
    passes: int
    minibatches: int
    micro_tokens: int
    drop_equal: bool = False

    @classmethod
    def of(cls, options: RolloutOptions, micro_tokens: int, drop_equal: bool = False) -> Cutting:
        prompts, o = options.samples // options.replies, options
        return cls(prompts, o.replies, o.passes, o.minibatches, micro_tokens, drop_equal)


class RolloutSource:
    """Serves the minibatches of one rollout after another; beside each, where given, a micro-batch of `mixed`.

    `log(step, **fields)` hears of every rollout, under the first step that it is learnt from.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        experience: Experience,
        estimator: Estimator,
        objective: Objective[Group],
        cutting: Cutting,
        seed: int,
        world: World,
        mixed: Source | None = None,
        kl_stop: float | None = None,
    ) -> None:
        self._asked, self._experience, self._estimator = asked, experience, estimator
        self._objective, self._cutting, self._seed, self._world = objective, cutting, seed, world
        self._mixed, self._kl_stop = mixed, kl_stop
        self._iteration, self._served = 0, 0
        self._stopped_early = False
        self._replies: list[Reply] = []
        self._updating_since: float | None = None
        self.log: Callable[..., None] = lambda step, **fields: None

    def batches(self, step: int) -> list[Batch]:
        if self._served >= self._cutting.passes * self._cutting.minibatches or not self._iteration:
            self._roll(step)
        groups = self._minibatch(self._served)
        self._served += 1
        cut = by_tokens(self._cutting.micro_tokens)
        parts = shared_out(groups, cut, self._world)
        blank = [Group((self._replies[0],), real=False)]
        batches = [self._objective.collate(part or blank) for part in parts]
        return batches + (self._mixed.batches(step) if self._mixed else [])

    def observe(self, step: Step) -> None:
        """Leave the rest of the rollout when the policy has moved too far from the one that sampled it."""
        if self._kl_stop is not None and step.terms["approx_kl"] > self._kl_stop:
            self._served = self._cutting.passes * self._cutting.minibatches
            self._stopped_early = True

    def _roll(self, step: int) -> None:
        begun, cut = time.perf_counter(), self._cutting
        spent = begun - self._updating_since if self._updating_since else None
        before = dict(self._experience.seconds)
        numbers = range(self._iteration * cut.prompts, (self._iteration + 1) * cut.prompts)
        mine = even_parts(numbers, self._world.size)[self._world.rank]
        places = [
            (self._place(number), number * cut.replies + k) for number in mine for k in range(cut.replies)
        ]
        sampled = self._experience.sample(
            [self._asked[place] for place, _ in places], self._seed, [number for _, number in places]
        )
        samples = self._world.gather(sampled)
        self._replies, facts = self._estimator(samples)
        kept = self._unequal(samples) if cut.drop_equal else self._replies
        self._replies = [_lean(reply) for reply in kept or self._replies[:1]]
        self._iteration, self._served = self._iteration + 1, 0
        seconds = {f"seconds_{k}": v - before[k] for k, v in self._experience.seconds.items()}
        if spent is not None:
            seconds["seconds_updating"] = spent
        self._tell(step, samples, {**facts, **seconds})
        self._stopped_early = False
        self._updating_since = time.perf_counter()

    def _place(self, number: int) -> int:
        """The prompt with that number since the start of training: each once an epoch, in an order of its own."""
        epoch, index = divmod(number, len(self._asked))
        if not hasattr(self, "_order") or self._order[0] != epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._asked))
            self._order: tuple[int, NDArray[np.int64]] = (epoch, order)
        return int(self._order[1][index])

    def _unequal(self, samples: Sequence[Sampled]) -> list[Reply]:
        size = self._cutting.replies
        scores = np.array([sample.number("score") for sample in samples]).reshape(-1, size)
        differs = np.repeat(np.ptp(scores, axis=1) > 0, size)
        return [reply for reply, live in zip(self._replies, differs, strict=True) if live]

    def _minibatch(self, served: int) -> list[Group]:
        turn, part = divmod(served, self._cutting.minibatches)
        order = np.random.default_rng([self._seed, self._iteration, turn]).permutation(len(self._replies))
        chosen = even_parts(order.tolist(), self._cutting.minibatches)[part]
        return by_prompt(self._replies[index] for index in chosen)

    def _tell(self, step: int, samples: Sequence[Sampled], facts: Mapping[str, float]) -> None:
        names = ("score", "gold", "disagreement", "unfinished")
        numbers = {n: np.array([s.reply.numbers[n] for s in samples if n in s.reply.numbers]) for n in names}
        told = {name: float(values.mean()) for name, values in numbers.items() if len(values)}
        rollout = {
            "iteration": self._iteration,
            "reward": told.pop("score"),
            "reward_deviation": float(numbers["score"].std()),
            **told,
            "length": float(np.mean([len(s.reply.ids) - s.reply.start for s in samples])),
            **facts,
            **({"stopped_early": True} if self._stopped_early else {}),
        }
        self.log(
            step + 1, rollout={k: round(v, 5) if isinstance(v, float) else v for k, v in rollout.items()}
        )
        self.log(step + 1, samples=[_shown(sample) for sample in samples[:_SAMPLES_SHOWN]])

    def state_dict(self) -> dict[str, Any]:
        """The rollout that is being learnt from, the cursors, and the estimator's state."""
        state: dict[str, Any] = {
            "iteration": self._iteration,
            "served": self._served,
            "stopped_early": self._stopped_early,
            "estimator": self._estimator.state_dict(),
        }
        return {**state, **_tensors(self._replies)} if self._replies else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._iteration, self._served = state["iteration"], state["served"]
        self._stopped_early = state["stopped_early"]
        self._estimator.load_state_dict(state["estimator"])
        self._replies = _replies(state) if "ids" in state else []
        self._updating_since = None


def _lean(reply: Reply) -> Reply:
    """What the loss needs of a reply."""
    return replace(reply, numbers={}, tokens={n: reply.tokens[n] for n in _KEPT if n in reply.tokens})


def _shown(sample: Sampled) -> dict[str, Any]:
    gold = {"gold": sample.number("gold")} if "gold" in sample.reply.numbers else {}
    return {
        "prompt": sample.asked.prompt.messages[-1].content,
        "reply": sample.text,
        "reward": round(sample.number("score"), 4),
        **gold,
    }


def _tensors(replies: Sequence[Reply]) -> dict[str, Tensor]:
    """Replies laid end to end: `ids`, `sizes`, `starts`, and a row for each number of their tokens."""
    found = {
        "ids": torch.from_numpy(np.concatenate([reply.ids for reply in replies])),
        "sizes": torch.tensor([len(reply.ids) for reply in replies]),
        "starts": torch.tensor([reply.start for reply in replies]),
    }
    for name in replies[0].tokens:
        found[f"tokens.{name}"] = torch.from_numpy(np.concatenate([reply.tokens[name] for reply in replies]))
    return found


def _replies(state: Mapping[str, Any]) -> list[Reply]:
    sizes, starts = state["sizes"].tolist(), state["starts"].tolist()
    ids = np.split(state["ids"].numpy(), np.cumsum(sizes)[:-1])
    lengths = [size - start for size, start in zip(sizes, starts, strict=True)]
    tokens = {
        name.removeprefix("tokens."): np.split(values.numpy(), np.cumsum(lengths)[:-1])
        for name, values in state.items()
        if name.startswith("tokens.")
    }
    return [
        Reply(ids[row], starts[row], {}, {name: values[row] for name, values in tokens.items()})
        for row in range(len(sizes))
    ]
