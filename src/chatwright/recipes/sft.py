"""`sft`: from a language model to a chat model, on demonstrations."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.data.packing import PackedRows
from chatwright.distributed import launch, shared_run
from chatwright.errors import UserError
from chatwright.evaluation.likelihood import held_out_likelihood
from chatwright.generation.text import TextModel, replies
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import empty_model, load_weights, read_config
from chatwright.progress import say
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.chat_stores import ChatSplit, chat_stores
from chatwright.recipes.trained import describe, finish, wants_files, write_chat_model
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.template import CHAT_TEMPLATE
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import TrainingOptions, named
from chatwright.training.plan import evaluation_rows
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

_LONGEST_DEFAULT_CONTEXT = 1024
_DEFAULT_EPOCHS = 3.0
_SAMPLED_CHATS = 3


@dataclass(frozen=True)
class SftOptions(TrainingOptions):
    """Supervised fine-tuning on chats."""

    validation: str | None = option(
        None, "a file of chats to measure on; default: a few of the training file's"
    )
    shuffle: bool = option(True, "draw a new order every epoch; no: keep the file's order, as a curriculum")
    objective: dict[str, Any] = option({"name": "chat"}, "what is predicted, with its options")
    epochs: float | None = option(None, "times through the chats, instead of steps or minutes (default: 3)")


@verb(SftOptions)
def sft(start: Place, chats: str | Path, out: str | Path, options: SftOptions) -> Run:
    """Fine-tune a model on chats: OpenAI messages, prompt/completion, Alpaca or ShareGPT rows; resumes where it stopped."""
    begun, world = time.monotonic(), launch.world()
    parent = Run.open(start, ["pretrain", *CHATS])
    inputs = wants_files(chats, options.validation)
    with shared_run.start(world, "sft", out, options, {"start": parent}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        tokenizer = Tokenizer.load(parent.directory)
        renderer = Renderer(tokenizer, tokenizer.template or CHAT_TEMPLATE)
        shape = read_config(parent.directory)
        if world.leads:
            write_chat_model(run.directory, shape, tokenizer, renderer.template)
        split = chat_stores(world, run, chats, options.validation, renderer, options.seed)
        context = _row_length(options.context, shape, split)
        packing = PackedRows(split.train, context, tokenizer.pad, options.seed, options.shuffle)
        _tell_skipped(split, packing, context, world.leads)
        cls, settings = named("objective", options.objective)
        objective = cls(settings)
        model = empty_model(shape, world.device)
        rows = max(1, options.batch_tokens // context)
        session = Session(run, world, {"policy": model}, objective, _in_steps(options, packing, rows), begun)
        source = session.prepare(
            lambda micro: StoredSource(packing, objective, rows, micro, options.seed, world),
            context,
            rows,
            {"context": context, "parameters": sum(p.numel() for p in model.parameters())},
            lambda: load_weights(model, parent.directory),
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
            samples = _samples(TextModel(model, tokenizer, renderer), split, world.leads and step > 0)
            return {"loss": found.loss, "bits_per_byte": found.bits_per_byte, "samples": samples}

        session.train(source, evaluate)
        return finish(
            session, context, skipped=split.skipped, cut=packing.cut, epochs=source.epochs(session.step)
        )


def _row_length(asked: int | None, shape: DecoderOptions, split: ChatSplit) -> int:
    """Tokens in a row: as asked, or enough for every chat, several to a row, within the model's context."""
    if asked is not None and asked > shape.context:
        raise UserError(f"context={asked} is longer than the model's {shape.context}; lower it")
    longest = int(split.train.lengths().max())
    return asked or min(
        shape.context, max(128, min(_LONGEST_DEFAULT_CONTEXT, 1 << (longest - 1).bit_length()))
    )


def _in_steps(options: SftOptions, packing: PackedRows, rows: int) -> SftOptions:
    """`epochs` (by default three) as a number of steps."""
    timed = options.steps is not None or options.minutes is not None
    if timed and options.epochs is not None:
        raise UserError("epochs= excludes steps= and minutes=; give one of them")
    if timed:
        return options
    epochs = _DEFAULT_EPOCHS if options.epochs is None else options.epochs
    if epochs <= 0:
        raise UserError(f"epochs={epochs:g} must be more than 0")
    return replace(options, steps=max(1, round(epochs * packing.rows_in_epoch(0) / rows)))


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
