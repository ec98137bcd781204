"""From pairs of texts to a translation model: `pretrain PAIRS TOKENIZER … objective=seq2seq`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chatwright.config import build, dumps
from chatwright.data.pair_store import PackedPairs, num_pairs
from chatwright.data.pairs import Fields
from chatwright.data.store import TokenStore
from chatwright.distributed import launch, shared_run
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.generation.translation import Translator
from chatwright.models.encoder_decoder import EncoderDecoder, EncoderDecoderOptions
from chatwright.models.interop.files import EndTokens, empty_root, write_config
from chatwright.models.presets import model_options
from chatwright.progress import say
from chatwright.recipes.trained import describe, finish, wants_files
from chatwright.recipes.translation.measuring import Measuring, TranslationOptions
from chatwright.recipes.translation.stores import PairSplit, pair_stores
from chatwright.runs import Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import named
from chatwright.training.session import Session
from chatwright.training.sources import StoredSource

if TYPE_CHECKING:
    from chatwright.recipes.pretrain import PretrainOptions
    from chatwright.recipes.verb import Place

_SHORTEST_ROW, _LONGEST_DEFAULT_ROW = 128, 512
_DEFAULT_MODEL = "transformer-small"


def train_pairs(pairs: Place, tokenizer: Place, out: str | Path, options: PretrainOptions) -> Run:
    """Train an encoder-decoder from nothing on a file of pairs; resumes where it stopped."""
    begun, world = time.monotonic(), launch.world()
    file, fields = _file(pairs), Fields(options.source, options.target)
    inputs = wants_files(file, options.validation)
    parent = Run.open(tokenizer, ["tokenizer"])
    vocabulary = Tokenizer.load(parent.directory)
    shape = _shape(options.model, vocabulary)
    cls, settings = named("objective", options.objective)
    translation = build(TranslationOptions, options.translation, "translation")
    with shared_run.start(world, "pretrain", out, options, {"tokenizer": parent}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        if world.leads:
            vocabulary.save(run.directory, eos=ENDOFTEXT)
            _write_config(run.directory, shape, vocabulary, translation)
        split = pair_stores(world, run, file, options.validation, fields, vocabulary, options.seed)
        context = row_length(options.context, shape.context, split.train)
        train, held_out = _rows(split, context, shape, vocabulary.pad, options.seed)
        _tell(split, train, min(context, shape.context), world.leads)
        model = empty_root(shape, world.device)
        assert isinstance(model, EncoderDecoder)
        rows = max(1, options.batch_tokens // sum(train.lengths))
        session = Session(run, world, {"policy": model}, cls(settings), options.budget, begun)
        source = session.prepare(
            lambda micro: StoredSource(train, session.objective, rows, micro, options.seed, world),
            context,
            rows,
            {"context": context, "parameters": sum(p.numel() for p in model.parameters())},
            lambda: model.initialize(torch.Generator(device=world.device).manual_seed(options.seed)),
        )
        describe(session, split.train, source.epochs(session.plan["steps"]))
        translator = Translator(model, vocabulary)
        measuring = Measuring(session, translator, held_out, split.measured, rows, translation)
        session.train(source, measuring)
        epochs = source.epochs(session.step)
        return finish(session, context, skipped=split.skipped, too_long=train.skipped, epochs=epochs)


def _file(pairs: Place) -> str | Path:
    if isinstance(pairs, Run) or (Path(pairs) / "run.json").is_file():
        raise UserError(
            f"{pairs} is a run, and objective=seq2seq learns from a file of pairs: .jsonl or .tsv (also .gz) with "
            "src and tgt, or with source=KEY target=KEY"
        )
    return pairs


def with_start(shape: Any, vocabulary: Tokenizer) -> Any:
    """The options of a model; an encoder-decoder's with the padding token to start from, as Marian has it."""
    return replace(shape, start=vocabulary.pad) if isinstance(shape, EncoderDecoderOptions) else shape


def _shape(model: dict[str, Any], vocabulary: Tokenizer) -> EncoderDecoderOptions:
    shape = with_start(model_options(model, vocabulary.vocab_size), vocabulary)
    if not isinstance(shape, EncoderDecoderOptions):
        raise UserError(
            f"model={model['name']} is no encoder-decoder, which objective=seq2seq needs; try model={_DEFAULT_MODEL}"
        )
    return shape


def _write_config(
    directory: Path, shape: EncoderDecoderOptions, vocabulary: Tokenizer, translation: TranslationOptions
) -> None:
    """config.json, and a generation_config.json with which `transformers` translates as we do."""
    tokens = EndTokens(vocabulary.endoftext, [vocabulary.endoftext], vocabulary.pad)
    write_config(directory, shape, tokens)
    never = sorted(vocabulary.special_ids - {vocabulary.endoftext})
    generation = {
        **tokens.public,
        "decoder_start_token_id": shape.start,
        "forced_eos_token_id": None,
        "suppress_tokens": never,
        "num_beams": translation.beams,
        "length_penalty": translation.length_penalty,
        "early_stopping": translation.early_stopping,
        "max_length": shape.context,
        "do_sample": False,
    }
    atomic_write(directory / "generation_config.json", dumps(generation))


def row_length(asked: int | None, most: int, train: TokenStore) -> int:
    """Positions of the longer side of a row: as asked, or enough for every pair the model takes, several to a row."""
    longest = min(most, int(train.lengths().max()))
    return asked or max(_SHORTEST_ROW, min(_LONGEST_DEFAULT_ROW, 1 << (longest - 1).bit_length()))


def _rows(
    split: PairSplit, context: int, shape: EncoderDecoderOptions, pad: int, seed: int
) -> tuple[PackedPairs, PackedPairs | None]:
    train = PackedPairs(split.train, context, shape.start, pad, seed, limit=shape.context)
    if split.validation is None:
        return train, None
    held_out = PackedPairs(split.validation, context, shape.start, pad, shuffle=False, limit=shape.context)
    return train, held_out


def _tell(split: PairSplit, train: PackedPairs, limit: int, leads: bool) -> None:
    if not leads:
        return
    say(f"  {num_pairs(split.train):,} pairs to learn from, {split.held_out} to measure on")
    for reason, (count, first) in split.skipped.items():
        say(f"  skipped {count:,}: {reason} (first: {first})")
    if train.skipped:
        say(f"  left out {train.skipped:,} with a side of more than {limit:,} tokens")
    say(f"  rows of {train.source_length} + {train.target_length} positions, {train.filled(0):.0%} filled")
