"""`pretrain`: a language model from nothing, on a corpus."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.distributed import launch, shared_run
from chatwright.models.interop.files import EndTokens, write_config
from chatwright.models.presets import model_options
from chatwright.objectives.pretraining.making import rows_of
from chatwright.objectives.pretraining.text import Text
from chatwright.recipes.pretraining.choosing import (
    choose_objective,
    files_of,
    row_length,
    sequences_in_row,
)
from chatwright.recipes.pretraining.measuring import held_out_parts, measure
from chatwright.recipes.pretraining.roots import initialize, make_roots
from chatwright.recipes.stores import corpus_stores
from chatwright.recipes.trained import describe, finish
from chatwright.recipes.translation.pairs import train_pairs, with_start
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import TrainingOptions
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

_DEFAULT_MINUTES = 10.0


@dataclass(frozen=True)
class PretrainOptions(TrainingOptions):
    """What to train, and on what terms."""

    model: dict[str, Any] = option(
        {"name": "qwen3-5m"}, "a size (qwen3-5m, gpt2-small, bert-mini …) and any field of its shape"
    )
    objective: dict[str, Any] = option(
        {},
        "what is predicted, several with a comma or by weights (objective.masked.weight=1); default: causal for decoders, "
        "masked,next_sentence for BERT, permutation for XLNet",
    )
    source: str | None = option(None, "of pairs: the field of a row that is read, as source=en target=zh")
    target: str | None = option(None, "of pairs: the field of a row that is written")
    validation: str | None = option(
        None, "of pairs: a file to measure on; default: some of the training file's"
    )
    translation: dict[str, Any] = option(
        {}, "of pairs: how held-out ones are translated at the end: translation.sentences, .beams …"
    )

    @property
    def budget(self) -> PretrainOptions:
        """With neither steps nor minutes given: ten minutes."""
        chosen = self.steps is not None or self.minutes is not None
        return self if chosen else replace(self, minutes=_DEFAULT_MINUTES)


@verb(PretrainOptions)
def pretrain(corpus: Place, tokenizer: Place, out: str | Path, options: PretrainOptions) -> Run:
    """Train a language model from nothing on a corpus; resumes where it stopped."""
    is_file = not isinstance(corpus, Run) and Path(corpus).is_file()
    if options.objective.get("name", "seq2seq" if is_file else None) == "seq2seq":
        return train_pairs(corpus, tokenizer, out, options)
    begun, world = time.monotonic(), launch.world()
    parents = {"corpus": Run.open(corpus, ["corpus"]), "tokenizer": Run.open(tokenizer, ["tokenizer"])}
    vocabulary = Tokenizer.load(parents["tokenizer"].directory)
    shape = with_start(model_options(options.model, vocabulary.vocab_size), vocabulary)
    objective = choose_objective(options.objective, shape, vocabulary)
    context = row_length(options.context, shape, objective)
    inputs = files_of(objective)
    with shared_run.start(world, "pretrain", out, options, parents, inputs) as run:
        if run.finished:
            return Run(run.directory)
        train, validation = corpus_stores(world, parents["corpus"], vocabulary)
        text = Text(train, vocabulary, context, options.seed)
        held_out = Text(validation, vocabulary, context, 0, held_out=True, elsewhere=train)
        packing, parts = rows_of(objective, text), held_out_parts(objective, held_out, world.leads)
        heads = getattr(objective, "wants", {})
        if world.leads:
            vocabulary.save(run.directory, eos=ENDOFTEXT)
            end = vocabulary.endoftext
            write_config(run.directory, shape, EndTokens(end, [end], vocabulary.pad), heads)
        roots = make_roots(shape, objective, world.device)
        session = Session(run, world, roots, objective, options.budget, begun)
        sequences = sequences_in_row(objective)
        rows = max(1, options.batch_tokens // (context * sequences))
        source = session.prepare(
            lambda micro: StoredSource(
                packing, objective, rows, max(1, micro // sequences), options.seed, world
            ),
            context,
            rows * sequences,
            {"context": context, "parameters": sum(p.numel() for p in session.main.parameters())},
            lambda: initialize(roots, options.seed),
        )
        describe(session, train, source.epochs(session.plan["steps"]))
        session.train(source, lambda step: measure(session, parts, held_out, step, rows))
        return finish(session, context)
