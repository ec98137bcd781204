"""A world small enough to list: 6 tokens, at most 4 of them, 781 responses. What the best policy gains is known exactly.

Of all policies π, J(π) = E[reward] − β KL(π ‖ reference) is largest for π* ∝ reference · exp(reward / β), where it is
J* = β log Z. J of any model is measured by running the model on every response, so that what training reached is a
share: (J − J_ref) / (J* − J_ref). Sampling, sources, estimators, objectives and the loop are the real ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.data.records import Message, Prompt
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.heads.language import token_outputs
from chatwright.models.root import Root
from chatwright.models.scored import ScoredDecoder
from chatwright.objectives.contract import Batch, Objective
from chatwright.objectives.policy import ClippedPolicy, PolicyOptions
from chatwright.objectives.ppo import PPO, PPOOptions
from chatwright.optim.adamw import AdamW, AdamWOptions
from chatwright.optim.muon import Muon, MuonOptions
from chatwright.training.loop import Step, steps
from chatwright.training.rollouts.advantages import Baseline
from chatwright.training.rollouts.estimators import GroupEstimator, KLOptions, ValueEstimator
from chatwright.training.rollouts.experience import Experience, Judging
from chatwright.training.rollouts.source import Cutting, Estimator, RolloutSource
from helpers.weights import stirred
from helpers.work import alone

TOKENS, STEPS, END, ASKED = 6, 4, 0, 1
_OFFSETS = np.cumsum([0, *(TOKENS**written for written in range(STEPS))])
SHAPE = DecoderOptions(
    vocab_size=TOKENS, width=64, layers=2, heads=2, kv_heads=2, head_dim=16, feed_forward=128, context=STEPS + 1,
    tied=False,
)  # fmt: skip


@cache
def responses() -> tuple[tuple[int, ...], ...]:
    """Everything that can be said: up to the end token, or four tokens without one."""

    def after(beginning: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for token in range(TOKENS):
            said = (*beginning, token)
            yield from [said] if token == END or len(said) == STEPS else after(said)

    return tuple(after(()))


class Scribe:
    """A renderer and tokenizer: every prompt is one token, and text is a list of numbers."""

    stop_ids = frozenset({END})

    @property
    def tokenizer(self) -> Scribe:
        return self

    def prompt(self, messages: Sequence[Message]) -> NDArray[np.int32]:
        return np.array([ASKED], dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


class _Written:
    """What a table has to remember of each row: all its tokens, [B, S]."""

    def __init__(self, rows: int) -> None:
        self.ids = torch.empty(rows, 0, dtype=torch.long)

    @property
    def length(self) -> int:
        return self.ids.size(1)

    def keep(self, rows: Tensor) -> None:
        self.ids = self.ids[rows]

    def append(self, ids_BT: Tensor) -> None:
        self.ids = torch.cat([self.ids.expand(len(ids_BT), -1), ids_BT], dim=1)


class Table(Decoder, Inference):
    """A policy that is a table, a row of logits for everything that may have been written before: it learns in seconds
    what a network takes minutes for, and goes through the engine and the losses as a decoder does."""

    def __init__(self) -> None:
        Root.__init__(self)
        self.options, self.dtype = SHAPE, torch.float32
        self.compute_dtype, self.kernel = torch.float32, "plain"
        self.embedding = nn.Embedding(int(_OFFSETS[-1]), TOKENS)
        self.register_buffer("unit", torch.eye(TOKENS), persistent=False)

    @property
    def head_weight(self) -> Tensor:
        return self.unit

    @property
    def device(self) -> torch.device:
        return self.unit.device

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        targets: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
        temperature: float = 1.0,
        **_: Any,
    ) -> dict[str, Tensor]:
        hidden = self.embedding(rows_of(inputs_BT))
        return token_outputs(hidden, self.head_weight, targets, outputs, temperature)

    def cache(self, rows: int, capacity: int) -> Any:
        return _Written(rows)

    def prefill(self, ids_BT: Tensor, cache: Any, starts_B: Any = None, is_wanted: bool = True) -> Tensor:
        cache.append(ids_BT)
        return self(cache.ids, outputs=("logits",))["logits"][:, -1]

    def step(self, ids_B: Tensor, cache: Any, starts_B: Any = None) -> Tensor:
        return self.prefill(ids_B[:, None], cache)


class ValueTable(Root):
    """A value for everything that may have been written before."""

    def __init__(self) -> None:
        super().__init__()
        self.options, self.compute_dtype, self.kernel = SHAPE, torch.float32, "plain"
        self.embedding = nn.Embedding(int(_OFFSETS[-1]), 1)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, inputs_BT: Tensor, **_: Any) -> dict[str, Tensor]:
        return {"scores": self.embedding(rows_of(inputs_BT))}


def rows_of(inputs_BT: Tensor) -> Tensor:
    """The row of a table that belongs to each position: the number that its tokens write after the prompt's, in base
    6, among those of its length. What stands after four tokens is never asked for."""
    rows = torch.zeros_like(inputs_BT)
    for place in range(1, min(inputs_BT.size(1), STEPS)):
        rows[:, place] = rows[:, place - 1] * TOKENS + inputs_BT[:, place]
    for place in range(1, min(inputs_BT.size(1), STEPS)):
        rows[:, place] += int(_OFFSETS[place])
    return rows


@dataclass(frozen=True)
class Bed:
    """A reward for every response, the policy that all begins with, and what divergence from it costs."""

    rewards: NDArray[np.float64]
    start: Decoder
    beta: float
    temperature: float = 1.0
    reference: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference", log_probabilities(self.start, self.temperature))

    @classmethod
    def drawn(cls, seed: int, beta: float = 0.5, network: bool = False, **more: Any) -> Bed:
        """Random rewards of deviation 1, and a start that is not quite even."""
        generator = torch.Generator().manual_seed(seed)
        if network:
            start: Decoder = stirred(Decoder(SHAPE), deviation=0.1, seed=seed)
        else:
            start = Table()
            nn.init.normal_(start.embedding.weight, 0.0, 0.5, generator=generator)
        rewards = np.random.default_rng([7, seed]).normal(size=len(responses()))
        return cls(rewards, start, beta, **more)

    def lengthy(self, slope: float = 1.0) -> Bed:
        """The same with every token worth `slope`."""
        return replace(self, rewards=self.rewards + slope * np.array([len(said) for said in responses()]))

    def score(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
        """The reward of each response, looked up by its text."""
        return [self._by_text[text] for text in texts]

    @property
    def _by_text(self) -> dict[str, float]:
        return _looked_up(self.rewards.tobytes())

    @property
    def best(self) -> float:
        """J* = β log Z with Z = Σ reference · exp(reward / β)."""
        return self.beta * float(np.logaddexp.reduce(self.reference + self.rewards / self.beta))

    @property
    def first(self) -> float:
        """J of the reference itself: its mean reward."""
        return float(np.exp(self.reference) @ self.rewards)

    def objective(self, logs: NDArray[np.float64]) -> float:
        """J of a policy whose log-probabilities of all responses are given."""
        return float(np.exp(logs) @ (self.rewards - self.beta * (logs - self.reference)))

    def share(self, model: Decoder) -> float:
        """Of what can be gained over the reference, how much the model gains."""
        reached = self.objective(log_probabilities(model, self.temperature))
        return (reached - self.first) / (self.best - self.first)


@cache
def _looked_up(rewards: bytes) -> dict[str, float]:
    values = np.frombuffer(rewards).tolist()
    return dict(zip(map(Scribe().decode, responses()), values, strict=True))


@torch.no_grad()
def log_probabilities(model: nn.Module, temperature: float = 1.0) -> NDArray[np.float64]:
    """log π of every response, float64[781], from the model's logits alone."""
    inputs = torch.full((len(responses()), STEPS), ASKED)
    targets, mask = torch.zeros_like(inputs), torch.zeros(inputs.shape, dtype=torch.bool)
    for row, said in enumerate(responses()):
        targets[row, : len(said)], mask[row, : len(said)] = torch.tensor(said), True
        inputs[row, 1 : len(said)] = torch.tensor(said[:-1])
    logs = (model(inputs, outputs=("logits",))["logits"].double() / temperature).log_softmax(-1)
    chosen = logs.gather(2, targets[..., None]).squeeze(2)
    return (chosen * mask).sum(1).numpy()


@dataclass(frozen=True)
class Learning:
    """How a policy learns on a bed."""

    samples: int = 512
    minibatches: int = 2
    passes: int = 4
    replies: int = 1
    rollouts: int = 60
    rate: float = 0.1
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    estimate: dict[str, Any] = field(default_factory=dict)
    network: bool = False
    watch: Callable[[Step], None] = lambda step: None


class Learner:
    """A policy on its way, with all that the recipes wire together."""

    def __init__(self, bed: Bed, baseline: Baseline | None, how: Learning = Learning()) -> None:
        self.bed, self.how = bed, how
        self.policy = copy.deepcopy(bed.start)
        reference = copy.deepcopy(bed.start).requires_grad_(False)
        roots: dict[str, Root] = {"policy": self.policy}
        if baseline is None:
            roots["value"] = _value_network(how.seed) if how.network else ValueTable()
        sampling = SamplingOptions(max_new_tokens=STEPS, temperature=bed.temperature, top_p=1.0)
        self.experience = Experience(
            self.policy, Scribe(), Judging(bed.score), sampling, reference, roots.get("value")  # type: ignore[arg-type]
        )  # fmt: skip
        kl, options = KLOptions(bed.beta), {"temperature": bed.temperature, **how.options}
        self.objective: Objective[Any]
        self.estimator: Estimator
        if baseline is None:
            self.objective, self.estimator = PPO(PPOOptions(**options)), ValueEstimator(kl, **how.estimate)
        else:
            self.objective = ClippedPolicy(PolicyOptions(**options))
            self.estimator = GroupEstimator(how.replies, baseline, kl)
        self.roots = roots
        asked = [self.experience.ask(Prompt((Message("user", "?"),)))]
        cutting = Cutting(how.samples // how.replies, how.replies, how.passes, how.minibatches, 1 << 16)
        self.source = RolloutSource(
            asked, self.experience, self.estimator, self.objective, cutting, how.seed, alone()
        )
        self.optimizer = optimizer_of(roots, how)

    def run(self) -> float:
        """Learn to the end; returns the share of the possible gain."""
        how = self.how
        count = how.rollouts * how.passes * how.minibatches
        loop = steps(
            self.objective, self.source, self.roots, self.optimizer, lambda step: 1 - step / count, alone(), 0, count,
            clip=0.0,
        )  # fmt: skip
        for step in loop:
            how.watch(step)
        return self.bed.share(self.policy)


def optimizer_of(roots: dict[str, Root], how: Learning) -> AdamW | Muon:
    """AdamW for tables, Muon for networks, whose matrices it teaches in half as many steps."""
    if how.network:
        return Muon(roots, MuonOptions(how.rate, table_rate=how.rate / 3, vector_rate=how.rate / 3))
    return AdamW(roots, AdamWOptions(learning_rate=how.rate, weight_decay=0.0, eps=1e-5))


def _value_network(seed: int) -> ScoredDecoder:
    value = stirred(ScoredDecoder(SHAPE), deviation=0.1, seed=seed + 50)
    nn.init.zeros_(value.head.weight)
    return value


class Fixed:
    """A source that serves the same batches at every step."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = list(batches)

    def batches(self, step: int) -> list[Batch]:
        return self._batches

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass
