"""Span denoising: spans are hidden behind sentinels, and source and target together are the text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from chatwright.data.packing import IGNORE, PADDING, Packed
from chatwright.errors import UserError
from chatwright.objectives.span_denoising import (
    Sentinels,
    SpanDenoising,
    SpanDenoisingOptions,
    Spans,
    denoising_pair,
    drawn_noise,
)

TOKENS = Sentinels(tuple(range(900, 940)), 990, 991)


def spans_of(length: int, real: int | None = None) -> Spans:
    real = length if real is None else real
    segments = np.where(np.arange(length) < real, 0, PADDING).astype(np.int32)
    inputs = np.arange(length, dtype=np.int64)
    return Spans(Packed(inputs, inputs.copy(), segments), TOKENS)


def test_a_known_text() -> None:
    ids = np.array([10, 11, 12, 13, 14, 15, 16])
    noise = np.array([0, 1, 1, 0, 0, 1, 0], dtype=bool)
    source, target = denoising_pair(ids, noise, TOKENS)
    assert source.tolist() == [10, 900, 13, 14, 901, 16, 990]
    assert target.tolist() == [900, 11, 12, 901, 15, 990]


@pytest.mark.parametrize("length", [2, 3, 7, 20, 100, 512])
def test_the_share_and_the_mean_length_are_met(length: int) -> None:
    options = SpanDenoisingOptions()
    hidden, count = options.hidden(length)
    assert hidden == max(1, round(0.15 * length))
    for seed in range(5):
        noise = drawn_noise(length, hidden, count, np.random.default_rng(seed))
        begins = noise & ~np.concatenate([[False], noise[:-1]])
        assert (int(noise.sum()), int(begins.sum())) == (hidden, count)
        assert not noise[0]
    assert options.hidden(1) == (0, 0)


def test_every_place_is_hidden_about_as_often() -> None:
    times = sum(drawn_noise(60, 9, 3, np.random.default_rng(seed)).astype(int) for seed in range(4000))
    # but for the edges, because a text never begins with a span and always ends with one
    assert (np.abs(times[8:52] / 4000 - 0.13) < 0.06).all()


def test_source_and_target_together_are_the_text_drawn_anew_for_every_generator() -> None:
    objective = SpanDenoising()
    drawn = [objective.prepare(spans_of(80), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (drawn[0].noise == drawn[1].noise).all()
    assert (drawn[0].noise != drawn[2].noise).any()
    batch = objective.collate(drawn)
    shapes = {(len(batch["inputs"][row]), len(batch["targets"][row])) for row in range(3)}
    assert shapes == {(80 - 12 + 4 + 1, 12 + 4 + 1)}
    for row in range(3):
        source = [i for i in batch["inputs"][row].tolist() if i < 900]
        target = [i for i in batch["targets"][row].tolist() if 0 <= i < 900]
        assert sorted(source + target) == list(range(80))
        assert batch["decoder_inputs"][row, 0] == TOKENS.pad
        assert batch["decoder_inputs"][row, 1:].tolist() == batch["targets"][row, :-1].tolist()
    assert objective.counts(batch) == {"span_token": 3 * 17}


def test_padded_and_blank_rows_keep_the_shape() -> None:
    objective = SpanDenoising()
    rows = [spans_of(40), spans_of(40, 23), spans_of(40, 1), spans_of(40).blank()]
    batch = objective.collate(
        [objective.prepare(row, np.random.default_rng(0)) for row in rows[:3]] + rows[3:]
    )
    learnt = (batch["targets"] != IGNORE).sum(dim=1).tolist()
    assert learnt == [6 + 2 + 1, 3 + 1 + 1, 0, 0]
    assert [int((batch["segments"][row] >= 0).sum()) for row in range(4)] == [
        40 - 6 + 2 + 1,
        23 - 3 + 1 + 1,
        0,
        0,
    ]


def test_a_row_that_was_not_drawn_is_always_the_same() -> None:
    objective = SpanDenoising()
    first, again = (objective.collate([spans_of(40)]) for _ in range(2))
    assert (first["inputs"] == again["inputs"]).all()
    assert objective.counts(first)["span_token"] == 9


def test_more_spans_than_sentinels_are_refused() -> None:
    with pytest.raises(UserError, match=r"rows of 4,000 tokens have 200 spans and there are 128"):
        SpanDenoising().rows(SimpleNamespace(context=4000, tokenizer=None))
    for options in ({"rate": 0.0}, {"span": 0.5}):
        with pytest.raises(UserError, match="objective"):
            SpanDenoisingOptions(**options)
