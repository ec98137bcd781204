"""Online learning small enough for a test, alone or on every rank of a gloo group, through the real parts."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.groups import Reply
from chatwright.data.records import Message, Prompt
from chatwright.distributed.launch import World, world
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.root import Root
from chatwright.models.scored import ScoredDecoder
from chatwright.objectives.causal import Causal, example_rows, tiny_decoder, tiny_shape
from chatwright.objectives.contract import Objective
from chatwright.objectives.policy import ClippedPolicy, PolicyOptions
from chatwright.objectives.ppo import PPO, PPOOptions
from chatwright.optim.adamw import AdamW, AdamWOptions
from chatwright.rewards.contract import Reward
from chatwright.training.loop import accumulate, global_counts, steps
from chatwright.training.rollouts.advantages import Baseline
from chatwright.training.rollouts.estimators import GroupEstimator, KLOptions, ValueEstimator
from chatwright.training.rollouts.experience import Experience, Judging, Sampled
from chatwright.training.rollouts.source import Cutting, Estimator, RolloutSource
from chatwright.training.sources import StoredSource
from helpers.weights import stirred
from helpers.work import Rows

END = 0
QUESTIONS = ("a", "four", "longer one", "bb", "six of them", "g?", "seventh")


class Speller:
    """A renderer and tokenizer of letters: 62 of them, and token 0 for the end."""

    stop_ids = frozenset({END})

    @property
    def tokenizer(self) -> Speller:
        return self

    def prompt(self, messages: Sequence[Message]) -> NDArray[np.int32]:
        return np.array([ord(letter) % 62 + 1 for letter in messages[-1].content], dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token + 64) for token in ids if token not in self.stop_ids)


def liking(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
    """A reward that is about as good as random, but always the same."""
    return [zlib.crc32(reply.encode()) % 1000 / 500 - 1 for reply in replies]


@dataclass(frozen=True)
class Setting:
    """What a small learner is made of."""

    baseline: Baseline | None = None
    samples: int = 12
    replies: int = 1
    passes: int = 2
    minibatches: int = 2
    micro_tokens: int = 80
    temperature: float = 1.0
    sampling_temperature: float | None = None
    max_new_tokens: int = 6
    kl: KLOptions = KLOptions(0.1, target=0.5, horizon=100.0)
    kl_stop: float | None = None
    drop_equal: bool = False
    shared: bool = False
    ptx: float = 0.0
    rate: float = 3e-3
    seed: int = 0
    ratios: bool = True
    gold: Reward | None = None
    unfinished: float | None = None
    reward: Reward = liking
    options: dict[str, Any] = field(default_factory=dict)


class Small:
    """A policy of two blocks, its value model, and all that learning from its own replies takes."""

    def __init__(self, setting: Setting = Setting(), here: World | None = None, **changes: Any) -> None:
        self.setting = s = Setting(**{**vars(setting), **changes})
        self.world = here or World(0, 1, torch.device("cpu"))
        self.policy, value = _roots(s)
        self.reference = copy.deepcopy(tiny_decoder(seed=5)).requires_grad_(False)
        self.roots: dict[str, Root] = {"policy": self.policy, **({"value": value} if value else {})}
        heat = s.temperature if s.sampling_temperature is None else s.sampling_temperature
        self.experience = Experience(
            self.policy,
            Speller(),  # type: ignore[arg-type]
            Judging(s.reward, s.gold, s.unfinished),
            SamplingOptions(max_new_tokens=s.max_new_tokens, temperature=heat, top_p=1.0),
            self.reference if s.ratios else None,
            None if s.baseline else value or self.policy,
            s.ratios,
        )
        self.objective: Objective[Any]
        self.estimator: Estimator
        options = {"temperature": s.temperature, **s.options}
        if s.baseline is None:
            self.objective = PPO(PPOOptions(ptx=s.ptx, **options))
            self.estimator = ValueEstimator(s.kl)
        else:
            self.objective = ClippedPolicy(PolicyOptions(**options))
            self.estimator = GroupEstimator(s.replies, s.baseline, s.kl)
        self.asked = [
            self.experience.ask(Prompt((Message("user", text),), source=f"p:{n}"))
            for n, text in enumerate(QUESTIONS)
        ]
        self.mixed = (
            StoredSource(Rows(example_rows(3)), Causal(), 3, 2, s.seed, self.world) if s.ptx else None
        )
        self.source = RolloutSource(
            self.asked,
            self.experience,
            self.estimator,
            self.objective,
            Cutting(s.samples // s.replies, s.replies, s.passes, s.minibatches, s.micro_tokens, s.drop_equal),
            s.seed,
            self.world,
            self.mixed,
            s.kl_stop,
        )
        self.optimizer = AdamW(self.roots, AdamWOptions(learning_rate=s.rate))
        self.logs: list[dict[str, Any]] = []
        self.source.log = lambda step, **fields: self.logs.append({"step": step, **fields})

    def sampled(self, count: int = 7, seed: int = 0) -> list[Sampled]:
        """One reply to each of the first prompts."""
        return self.experience.sample(self.asked[:count], seed, list(range(count)))

    def gradient(self) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
        """The first step's sums, and its gradient."""
        batches = self.source.batches(0)
        totals = global_counts(self.objective, batches, self.world)
        sums = accumulate(self.objective, batches, self.roots, self.objective.weights(0), totals)
        self.world.sum_gradients(self.optimizer.parameters)
        return self.world.sum(sums), _gradients(self.roots)

    def steps(self, first: int, last: int) -> list[dict[str, Any]]:
        """Through the real loop; what each step said."""
        said = []
        loop = steps(
            self.objective, self.source, self.roots, self.optimizer, lambda n: 1.0, self.world, first, last, 1.0
        )  # fmt: skip
        for step in loop:
            self.source.observe(step)
            said.append(asdict(step))
        return said

    def state(self) -> dict[str, Any]:
        """Everything that a session saves."""
        return {
            "weights": {n: dict(root.state_dict()) for n, root in self.roots.items()},
            "optimizer": self.optimizer.state_dict(),
            "source": self.source.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        for name, root in self.roots.items():
            root.load_state_dict(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.source.load_state_dict(state["source"])


def _roots(s: Setting) -> tuple[Root, Root | None]:
    if s.baseline is not None:
        return tiny_decoder(), None
    scored = stirred(ScoredDecoder(tiny_shape(), language=s.shared), seed=9)
    if s.shared:
        scored.trunk.load_state_dict(tiny_decoder().state_dict())
        return scored, None
    return tiny_decoder(), scored


def _gradients(roots: Mapping[str, Root]) -> dict[str, NDArray[np.float32]]:
    return {
        f"{key}.{name}": p.grad.numpy().copy()
        for key, root in roots.items()
        for name, p in root.named_parameters()
        if p.grad is not None
    }


def flat(replies: Sequence[Reply]) -> list[list[int]]:
    return [reply.ids.tolist() for reply in replies]


def first_gradient(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The gradient of the first step, and every reply that it was made from, as each rank knows them."""
    torch.use_deterministic_algorithms(True)
    small = Small(here=world(), **changes)
    sums, gradient = small.gradient()
    state = small.source.state_dict()
    kept = {name: value.numpy() for name, value in state.items() if isinstance(value, torch.Tensor)}
    return {"sums": sums, "gradient": gradient, "rollout": kept, "logs": small.logs}


def few_steps(count: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What some steps said, and where they ended."""
    torch.use_deterministic_algorithms(True)
    small = Small(here=world(), **changes)
    said = small.steps(0, count)
    state = small.source.state_dict()
    return {
        "terms": [step["terms"] for step in said],
        "cursor": (state["iteration"], state["served"]),
        "weights": {
            f"{key}.{name}": p.detach().numpy().copy()
            for key, root in small.roots.items()
            for name, p in root.named_parameters()
        },
        "logs": small.logs,
    }


def ending(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
    """Most groups have equal rewards: only what follows the shortest prompt differs."""
    return [
        float(ord(reply[0]) % 5) if reply and len(prompt.messages[-1].content) == 1 else 0.0
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
