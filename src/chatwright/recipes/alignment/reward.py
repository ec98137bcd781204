"""`reward`: from a chat model to a judge of replies, on comparisons."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from chatwright.config import option
from chatwright.data.chats import read_chats
from chatwright.data.encode_groups import encode_comparisons, replies_ids
from chatwright.data.group_store import GroupStore
from chatwright.data.groups import Reply, by_tokens
from chatwright.data.preferences import read_comparisons
from chatwright.distributed import launch, shared_run
from chatwright.evaluation.judging import judged, score_pairs
from chatwright.models.interop.files import empty_scored, load_trunk, read_config, write_reward_config
from chatwright.models.scored import ScoredDecoder
from chatwright.recipes.alignment.options import PairOptions, in_steps, sequence_limit
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.alignment.stores import preference_stores
from chatwright.recipes.trained import chat_tokens, describe_groups, finish, wants_files
from chatwright.recipes.verb import Place, verb
from chatwright.rewards.model import raw_scores
from chatwright.runs import Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import named
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

_REFERENCE_REPLIES = 2000


@dataclass(frozen=True)
class RewardVerbOptions(PairOptions):
    """A reward model from comparisons; nothing is compiled, because rows differ in length."""

    objective: dict[str, Any] = option(
        {"name": "pairwise"}, "how replies are compared: objective.heads=3, .smoothing=, .margins=, .centre="
    )
    confidence: bool = option(
        False, "also judge by how likely the reply is to the model itself: whether it knows what it says"
    )
    trunk: Literal["trained", "frozen"] = option(
        "trained", "frozen: only the heads are trained, in a third of the time, on the start as it is"
    )
    reference: str | None = option(
        None,
        "chats whose replies have mean reward 0 and deviation 1; default: the replies that were compared",
    )


@verb(RewardVerbOptions)
def reward(start: Place, preferences: str | Path, out: str | Path, options: RewardVerbOptions) -> Run:
    """Train a judge on comparisons: prompt/chosen/rejected, rankings of several replies, LLaMA-Factory's ranking rows."""
    begun, world = time.monotonic(), launch.world()
    parent = Run.open(start, CHATS)
    inputs = wants_files(preferences, options.validation, options.reference)
    with shared_run.start(world, "reward", out, options, {"start": parent}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        tokenizer = Tokenizer.load(parent.directory)
        renderer = Renderer(tokenizer)
        cls, settings = named("objective", options.objective)
        objective = cls(settings)
        shape = read_config(parent.directory)
        model = empty_scored(shape, settings.heads, world.device, confidence=options.confidence)
        model.trunk.requires_grad_(options.trunk == "trained")
        if world.leads:
            tokenizer.save(run.directory, eos=tokenizer.end_of_turn, template=renderer.template)
            write_reward_config(run.directory, model, chat_tokens(tokenizer))
        stores = preference_stores(
            world,
            run,
            preferences,
            options.validation,
            read_comparisons,
            encode_comparisons,
            renderer,
            options.seed,
        )
        limit = min(sequence_limit(options, shape.context), int(stores.train.lengths().max()))
        # how likely a reply is to the model is a mean over its row, so there a row is one reply
        train, held = stores.rows(options.seed, limit, world.leads, shared=not options.confidence)
        session = Session(run, world, {"reward": model}, objective, in_steps(options, train), begun)

        def initialize() -> None:
            model.initialize(torch.Generator(device=world.device).manual_seed(options.seed))
            load_trunk(model, parent.directory)

        source = session.prepare(
            lambda micro: StoredSource(
                train, objective, options.batch, by_tokens(micro * limit), options.seed, world
            ),
            limit,
            options.batch,
            {"limit": limit, "parameters": sum(p.numel() for p in model.parameters())},
            initialize,
            rehearsal=1,
        )
        describe_groups(session, train, options.batch)
        measured = [held.row(0, index) for index in range(held.rows_in_epoch(0))] if held else []

        def evaluate(step: int) -> dict[str, Any]:
            return judged(score_pairs(model, measured)) if measured and world.leads else {}

        session.train(source, evaluate)
        if world.leads:
            mean, deviation = _scale(model, stores.train, options.reference, renderer)
            write_reward_config(run.directory, model, chat_tokens(tokenizer), mean, deviation)
        return finish(session, limit, epochs=source.epochs(session.step))


def _scale(
    model: ScoredDecoder, compared: GroupStore, reference: str | None, renderer: Renderer
) -> tuple[float, float]:
    """Mean and deviation of the raw scores of reference replies, so that a coefficient keeps its meaning."""
    if reference:
        chats = [chat for _, chat in zip(range(_REFERENCE_REPLIES), read_chats(reference), strict=False)]
        pairs = replies_ids(renderer, [(c.messages[:-1], c.messages[-1].content) for c in chats])
        replies = [Reply(np.concatenate(pair).astype(np.int64), len(pair.prompt)) for pair in pairs]
    else:
        count = compared.num_sequences
        places = {count * i // _REFERENCE_REPLIES for i in range(_REFERENCE_REPLIES)} if count > 1 else {0}
        replies = [compared.reply(place) for place in sorted(places)]
    replies = [reply for reply in replies if len(reply.ids) <= model.options.context]
    starts = [reply.start for reply in replies]
    scores = raw_scores(model, [reply.ids for reply in replies], starts=starts).mean(axis=1)
    return float(scores.mean()), max(float(scores.std()), 1e-6)
