"""An encoder-decoder from plain text: span denoising on a corpus, by `pretrain`'s own way."""

from __future__ import annotations

from pathlib import Path

import chatwright as cw
from chatwright.models.interop.files import read_options
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.journey import TRAINING, Journey

SHAPE = {
    "model": "transformer-tiny",
    "model.width": 32,
    "model.heads": 2,
    "model.feed_forward": 48,
    "model.encoder_layers": 1,
    "model.decoder_layers": 1,
}


def test_spans_of_a_corpus_are_learnt(journey: Journey, tmp_path: Path) -> None:
    run = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "t5", **SHAPE, **TRAINING, steps=4)
    assert run.finished
    assert run.result["after"]["span_token"] < run.result["before"]["span_token"]
    assert [set(row["loss"]) for row in run.metrics() if "loss" in row] == [{"span_token"}] * 4
    options = read_options(run.directory)
    assert options.start == Tokenizer.load(run.directory).pad
    named = cw.pretrain(
        journey.corpus, journey.tokenizer, tmp_path / "named", **SHAPE, **TRAINING, steps=1, **{
            "objective": "span_denoising", "objective.rate": 0.3, "objective.span": 2,
        },
    )  # fmt: skip
    assert named.options["objective"] == {"name": "span_denoising", "rate": 0.3, "span": 2}
