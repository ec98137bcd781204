"""`pretrain`: a language model from nothing, on a corpus."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chatwright.config import option
from chatwright.data.packing import SequentialRows, StreamRows
from chatwright.distributed import launch, shared_run
from chatwright.errors import UserError
from chatwright.evaluation.likelihood import held_out_likelihood
from chatwright.generation.text import TextModel
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import EndTokens, empty_model, write_config
from chatwright.models.presets import model_options
from chatwright.recipes.stores import corpus_stores
from chatwright.recipes.trained import describe, finish
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import TrainingOptions, named
from chatwright.training.plan import evaluation_rows
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

_LONGEST_DEFAULT_CONTEXT = 512
_DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class PretrainOptions(TrainingOptions):
    """What to train, and on what terms."""

    model: dict[str, Any] = option(
        {"name": "qwen3-5m"}, "a size (qwen3-1m … qwen3-8b) and any field of its shape"
    )
    objective: dict[str, Any] = option({"name": "causal"}, "what is predicted")

    @property
    def budget(self) -> PretrainOptions:
        """With neither steps nor minutes given: ten minutes."""
        chosen = self.steps is not None or self.minutes is not None
        return self if chosen else replace(self, minutes=_DEFAULT_MINUTES)


@verb(PretrainOptions)
def pretrain(corpus: Place, tokenizer: Place, out: str | Path, options: PretrainOptions) -> Run:
    """Train a language model from nothing on a corpus; resumes where it stopped."""
    begun, world = time.monotonic(), launch.world()
    parents = {"corpus": Run.open(corpus, ["corpus"]), "tokenizer": Run.open(tokenizer, ["tokenizer"])}
    vocabulary = Tokenizer.load(parents["tokenizer"].directory)
    shape = model_options(options.model, vocabulary.vocab_size)
    context = _row_length(options.context, shape)
    cls, settings = named("objective", options.objective)
    objective = cls(settings)
    with shared_run.start(world, "pretrain", out, options, parents) as run:
        if run.finished:
            return Run(run.directory)
        train, validation = corpus_stores(world, parents["corpus"], vocabulary)
        if world.leads:
            vocabulary.save(run.directory, eos=ENDOFTEXT)
            end = vocabulary.endoftext
            write_config(run.directory, shape, EndTokens(end, [end], vocabulary.pad))
        model = empty_model(shape, world.device)
        session = Session(run, world, {"policy": model}, objective, options.budget, begun)
        rows = max(1, options.batch_tokens // context)
        packing = StreamRows(train, context, options.seed)
        source = session.prepare(
            lambda micro: StoredSource(packing, objective, rows, micro, options.seed, world),
            context,
            rows,
            {"context": context, "parameters": sum(p.numel() for p in model.parameters())},
            lambda: model.initialize(torch.Generator(device=world.device).manual_seed(options.seed)),
        )
        describe(session, train, source.epochs(session.plan["steps"]))
        held_out = SequentialRows(validation, context, vocabulary.pad)
        kept = evaluation_rows(held_out.rows_in_epoch(0), rows, session.plan["steps"])

        def evaluate(step: int) -> dict[str, Any]:
            found = held_out_likelihood(model, objective, held_out, kept, rows, vocabulary.token_bytes, world)
            samples = _samples(TextModel(model, vocabulary), world.leads and step > 0)
            return {"loss": found.loss, "bits_per_byte": found.bits_per_byte, "samples": samples}

        session.train(source, evaluate)
        return finish(session, context)


def _row_length(asked: int | None, shape: DecoderOptions) -> int:
    """Tokens in a row: what was asked for, or a default that the model can hold."""
    if asked is not None and asked > shape.context:
        raise UserError(
            f"context={asked} is longer than the model's {shape.context}; lower it or set model.context"
        )
    return asked or min(_LONGEST_DEFAULT_CONTEXT, shape.context)


def _samples(model: TextModel, wanted: bool) -> list[str]:
    """A few texts that the model writes, to be read in the report."""
    if not wanted:
        return []
    return model.complete_batch(["", "The "], max_new_tokens=48, temperature=0.8, seed=0)
