"""`ppo`: a policy that the judge likes better, held to where it started."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chatwright.config import build, option
from chatwright.data.packing import PackedRows
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import (
    empty_model,
    empty_scored,
    load_trunk,
    load_weights,
)
from chatwright.models.root import Root
from chatwright.objectives.chat import SupervisedChat
from chatwright.objectives.ppo import PPO
from chatwright.recipes.alignment import online, ordering
from chatwright.recipes.alignment.judging import Judges
from chatwright.recipes.alignment.online import Bench, Learner
from chatwright.recipes.alignment.ordering import OnlineOptions
from chatwright.recipes.chat_stores import chat_stores
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import named
from chatwright.training.rollouts.estimators import KLOptions, ValueEstimator
from chatwright.training.sources import StoredSource


@dataclass(frozen=True)
class PPOVerbOptions(OnlineOptions):
    """Proximal policy optimization against a judge."""

    objective: dict[str, Any] = option(
        {"name": "ppo"}, "clips and weights: objective.clip=, .value=, .entropy=, .ptx="
    )
    kl: dict[str, Any] = option(
        {}, "the pull back to the start: kl.coefficient=0.05, kl.target=6 (adaptive), kl.horizon="
    )
    value: Literal["judge", "policy", "shared"] = option(
        "judge",
        "where the value model starts: a copy of the judge, of the policy, or a head on the policy itself",
    )
    discount: float = option(1.0, "γ of the returns")
    decay: float = option(0.95, "λ of generalized advantage estimation")
    whiten_rewards: bool = option(False, "bring the rewards of a rollout's tokens to deviation 1")
    ptx: str | None = option(
        None, "chats whose next-token loss is mixed in (PPO-ptx), with objective.ptx as weight"
    )
    ptx_rows: int = option(8, "rows of them an optimizer step")


@verb(PPOVerbOptions)
def ppo(policy: Place, judge: Any, prompts: str | Path, out: str | Path, options: PPOVerbOptions) -> Run:
    """Train a chat model by PPO: sample replies to prompts, have JUDGE score them (a run of `reward`, a rule such as `exact`, file.py:function, or a weighted sum), and make the better ones likelier."""
    begun = time.monotonic()
    kl = build(KLOptions, options.kl, "kl")
    given = ordering.order(policy, judge, prompts, options, [options.ptx] if options.ptx else [])
    group = ordering.objective_options(options, **({"ptx": 1.0} if options.ptx else {}))
    objective = PPO(named("objective", group)[1])
    if bool(options.ptx) != bool(objective.options.ptx):
        raise UserError("ptx=FILE and objective.ptx= (its weight) belong together; give both or neither")

    def make(bench: Bench) -> Learner:
        roots, initialize = _roots(given.parent, given.judges, bench.shape, options, bench.world)
        return Learner(
            roots,
            initialize,
            ValueEstimator(kl, options.discount, options.decay, options.whiten_rewards),
            value=roots.get("value", roots["policy"]),
            mixed=_mixed(bench, options),
        )

    return online.learn("ppo", given, out, options, objective, make, begun)


def _roots(
    parent: Run, judges: Judges, shape: DecoderOptions, options: PPOVerbOptions, world: World
) -> tuple[dict[str, Root], Callable[[], None]]:
    """Policy and value model, and how they get their first weights. A value that starts from a judge starts as its
    score; any other starts at zero, which leaves the first advantages to the rewards."""
    if options.value == "shared":
        shared = empty_scored(shape, 1, world.device, language=True)

        def start_shared() -> None:
            load_trunk(shared, parent.directory)
            shared.head.weight.data.zero_()

        return {"policy": shared}, start_shared
    policy = empty_model(shape, world.device)
    # a judge that reads with another tokenizer values other tokens
    digest = Tokenizer.load(parent.directory).digest
    fitting = [model for model in judges.models if model.renderer.tokenizer.digest == digest]
    model = fitting[0] if fitting and options.value == "judge" else None
    value = empty_scored(model.model.options if model else shape, 1, world.device)

    def start() -> None:
        load_weights(policy, parent.directory)
        if model is not None:
            own = value.trunk.state_dict()
            judged = model.model.trunk.state_dict()
            value.trunk.load_state_dict({name: judged[name] for name in own})
            head = model.model.head.weight.data.mean(0, keepdim=True)
            value.head.weight.data.copy_(head / model.deviation)
        else:
            load_trunk(value, parent.directory)
            value.head.weight.data.zero_()

    return {"policy": policy, "value": value}, start


def _mixed(bench: Bench, options: PPOVerbOptions) -> StoredSource[Any] | None:
    """Rows of chats to learn from beside the replies."""
    if options.ptx is None:
        return None
    split = chat_stores(bench.world, bench.run, options.ptx, None, bench.renderer, options.seed)
    longest = int(split.train.lengths().max())
    packing = PackedRows(
        split.train,
        min(bench.shape.context, max(128, longest)),
        bench.renderer.tokenizer.pad,
        options.seed,
    )
    return StoredSource(
        packing, SupervisedChat(), options.ptx_rows, options.ptx_rows, options.seed, bench.world
    )
