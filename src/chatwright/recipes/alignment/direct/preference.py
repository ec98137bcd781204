"""`dpo`, `kto`, `orpo`, `simpo`: a chat model learns from preferences directly, without a reward model or sampling."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from chatwright.data.groups import by_tokens
from chatwright.distributed import launch, shared_run
from chatwright.models.interop.files import empty_model, load_weights, read_config
from chatwright.recipes.alignment.direct.options import (
    DPOVerbOptions,
    KTOVerbOptions,
    ORPOVerbOptions,
    PreferenceOptions,
    SimPOVerbOptions,
)
from chatwright.recipes.alignment.direct.reference import Reference, reference_of
from chatwright.recipes.alignment.direct.rows import Measuring, PreferenceRows
from chatwright.recipes.alignment.options import in_steps, sequence_limit
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.trained import describe_groups, finish, wants_files, write_chat_model
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import named
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource


@verb(DPOVerbOptions)
def dpo(start: Place, preferences: str | Path, out: str | Path, options: DPOVerbOptions) -> Run:
    """Teach a chat model from comparisons by DPO (or IPO, hinge, robust): prompt/chosen/rejected, rankings of several replies, LLaMA-Factory's ranking rows."""
    return _prefer("dpo", start, preferences, out, options)


@verb(KTOVerbOptions)
def kto(start: Place, preferences: str | Path, out: str | Path, options: KTOVerbOptions) -> Run:
    """Teach a chat model from single replies that were wanted or not, by KTO: prompt/completion/label rows, kto_tag, or comparisons taken apart."""
    return _prefer("kto", start, preferences, out, options)


@verb(ORPOVerbOptions)
def orpo(start: Place, preferences: str | Path, out: str | Path, options: ORPOVerbOptions) -> Run:
    """Teach a base or chat model from comparisons by ORPO: the chosen replies as demonstrations and the odds over the rejected ones, in one loss."""
    return _prefer("orpo", start, preferences, out, options)


@verb(SimPOVerbOptions)
def simpo(start: Place, preferences: str | Path, out: str | Path, options: SimPOVerbOptions) -> Run:
    """Teach a chat model from comparisons by SimPO: mean log-probabilities as rewards, a margin, and no reference."""
    return _prefer("simpo", start, preferences, out, options)


def _prefer(
    verb: str, start: Place, preferences: str | Path, out: str | Path, options: PreferenceOptions
) -> Run:
    begun, world = time.monotonic(), launch.world()
    cls, settings = named("objective", options.objective)
    objective = cls(settings)
    parent = Run.open(start, ["pretrain", *CHATS] if verb == "orpo" else CHATS)
    other: str | None = getattr(options, "reference", None)
    held_to = reference_of(parent, other)
    inputs = wants_files(preferences, options.validation)
    parents = {"start": parent, **({"reference": held_to} if other else {})}
    with shared_run.start(world, verb, out, options, parents, inputs) as run:
        if run.finished:
            return Run(run.directory)
        tokenizer, shape = Tokenizer.load(parent.directory), read_config(parent.directory)
        renderer = Renderer(tokenizer, tokenizer.chat_template)
        if world.leads:
            write_chat_model(run.directory, shape, tokenizer, renderer.template)
        limit = sequence_limit(options, shape.context)
        reference = Reference(held_to, world, limit)
        rows = PreferenceRows.read(world, run, preferences, options, objective, renderer, limit)
        length = rows.typical_length()
        model = empty_model(shape, world.device)
        session = Session(run, world, {"policy": model}, objective, in_steps(options, rows.entries), begun)

        def make_source(micro: int) -> StoredSource[Any]:
            reference.micro_tokens = micro * length
            together = options.batch // rows.together
            cut = by_tokens(micro * length)
            return StoredSource(rows.train, objective, together, cut, options.seed, world)

        def settle(precision: torch.dtype) -> None:
            rows.fill(reference.computing(precision, model.kernel))

        source = session.prepare(
            make_source,
            length,
            rows.sequences_in(options.batch),
            {"limit": limit, "length": length, "parameters": sum(p.numel() for p in model.parameters())},
            lambda: load_weights(model, parent.directory),
            rehearsal=1,
            settle=settle if objective.needs_reference else None,
        )
        describe_groups(session, rows.entries, options.batch)
        session.train(source, Measuring(model, objective, rows, renderer, world))
        return finish(session, length, epochs=source.epochs(session.step))
