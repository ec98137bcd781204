"""Learning from chats: what `sft` and `distill` share, from the files to the finished run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from chatwright.config import option
from chatwright.data.packing import Packed, PackedRows
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.evaluation.likelihood import held_out_likelihood
from chatwright.generation.text import TextModel, replies
from chatwright.models.decoder import Decoder
from chatwright.models.interop.files import empty_model, load_weights, read_config
from chatwright.objectives.contract import Objective
from chatwright.progress import say
from chatwright.recipes.chat_stores import ChatSplit, chat_stores
from chatwright.recipes.trained import describe, finish, write_chat_model
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import TrainingOptions
from chatwright.training.plan import evaluation_rows
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

_LONGEST_DEFAULT_CONTEXT = 1024
_DEFAULT_EPOCHS = 3.0
_SAMPLED_CHATS = 3


@dataclass(frozen=True)
class SupervisedOptions(TrainingOptions):
    """The loop over chats."""

    validation: str | None = option(
        None, "a file of chats to measure on; default: a few of the training file's"
    )
    shuffle: bool = option(True, "draw a new order every epoch; no: keep the file's order, as a curriculum")
    epochs: float | None = option(None, "times through the chats, instead of steps or minutes (default: 3)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None and (self.steps is not None or self.minutes is not None):
            raise UserError("epochs= excludes steps= and minutes=; give one of them")
        if self.epochs is not None and self.epochs <= 0:
            raise UserError(f"epochs={self.epochs:g} must be more than 0")


Measure = Callable[[Decoder, PackedRows, int], dict[str, Any]]


def learn_chats(
    run: OpenRun,
    world: World,
    begun: float,
    parent: Run,
    chats: str | Path,
    options: SupervisedOptions,
    objective: Objective[Packed],
    settle: Callable[[torch.dtype, str], None] | None = None,
    measure: Measure | None = None,
    longest: int | None = None,
    **result: Any,
) -> Run:
    """Train the model of `parent` on chats and finish the run.

    settle: sets frozen models up for the plan's precision and attention kernel. measure: more to evaluate, from the
    model, the held-out rows and how many go through it together. longest: a bound of the rows below the model's context.
    result: more to write down at the end.
    """
    tokenizer = Tokenizer.load(parent.directory)
    renderer = Renderer(tokenizer, tokenizer.chat_template)
    shape = read_config(parent.directory)
    if world.leads:
        write_chat_model(run.directory, shape, tokenizer, renderer.template)
    split = chat_stores(world, run, chats, options.validation, renderer, options.seed)
    context = row_length(options.context, min(shape.context, longest or shape.context), split.train)
    packing = PackedRows(split.train, context, tokenizer.pad, options.seed, options.shuffle)
    _tell_skipped(split, packing, context, world.leads)
    model = empty_model(shape, world.device)
    rows = max(1, options.batch_tokens // context)
    session = Session(run, world, {"policy": model}, objective, _in_steps(options, packing, rows), begun)
    source = session.prepare(
        lambda micro: StoredSource(packing, objective, rows, micro, options.seed, world),
        context,
        rows,
        {"context": context, "parameters": sum(p.numel() for p in model.parameters())},
        lambda: load_weights(model, parent.directory),
        settle=(lambda dtype: settle(dtype, model.kernel)) if settle else None,
    )
    describe(session, split.train, source.epochs(session.plan["steps"]))
    held_out = (
        PackedRows(split.validation, context, tokenizer.pad, shuffle=False) if split.validation else None
    )

    def evaluate(step: int) -> dict[str, Any]:
        if held_out is None:
            return {}
        kept = evaluation_rows(held_out.rows_in_epoch(0), rows, session.plan["steps"])
        found = held_out_likelihood(model, objective, held_out, kept, rows, tokenizer.token_bytes, world)
        more = measure(model, held_out, rows) if measure else {}
        samples = _samples(TextModel(model, tokenizer, renderer), split, world.leads and step > 0)
        return {"loss": found.loss, "bits_per_byte": found.bits_per_byte, **more, "samples": samples}

    session.train(source, evaluate)
    epochs = source.epochs(session.step)
    return finish(session, context, skipped=split.skipped, cut=packing.cut, epochs=epochs, **result)


def row_length(asked: int | None, most: int, train: TokenStore) -> int:
    """Tokens in a row: as asked, or enough for every chat, several to a row, and at most `most`."""
    if asked is not None and asked > most:
        raise UserError(f"context={asked} is longer than the model's {most}; lower it")
    longest = int(train.lengths().max())
    return asked or min(most, max(128, min(_LONGEST_DEFAULT_CONTEXT, 1 << (longest - 1).bit_length())))


def _in_steps(options: SupervisedOptions, packing: PackedRows, rows: int) -> SupervisedOptions:
    """`epochs` (by default three) as a number of steps."""
    if options.steps is not None or options.minutes is not None:
        return options
    epochs = _DEFAULT_EPOCHS if options.epochs is None else options.epochs
    return replace(options, epochs=None, steps=max(1, round(epochs * packing.rows_in_epoch(0) / rows)))


def _tell_skipped(split: ChatSplit, packing: PackedRows, context: int, leads: bool) -> None:
    if not leads:
        return
    say(f"  {split.train.num_documents:,} chats to learn from, {split.held_out} to measure on")
    for reason, (count, first) in split.skipped.items():
        say(f"  skipped {count:,}: {reason} (first: {first})")
    if packing.cut or packing.skipped:
        say(f"  cut at {context} tokens: {packing.cut:,}; nothing to learn before that: {packing.skipped:,}")


def _samples(model: TextModel, split: ChatSplit, wanted: bool) -> list[str]:
    """Questions with the model's replies, to be read in the report."""
    asked = [chat.messages[:-1] for chat in split.samples[:_SAMPLED_CHATS]] if wanted else []
    if not asked:
        return []
    answers = replies(model, asked, max_new_tokens=64, temperature=0.0)
    return [f"{q[-1].content} → {a}" for q, a in zip(asked, answers, strict=True)]
