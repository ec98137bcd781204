"""Sequence to sequence: what is counted, label smoothing, and words that are hidden."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.objectives.seq2seq import (
    Seq2Seq,
    Seq2SeqOptions,
    batch_inputs,
    example_pairs,
    tiny_encoder_decoder,
)


def terms(objective: Seq2Seq) -> tuple[dict[str, float], dict[str, int]]:
    model, batch = tiny_encoder_decoder(), objective.collate(example_pairs())
    [found] = objective.passes({"policy": model}, batch)
    return {name: float(value.detach()) for name, value in found.items()}, objective.counts(batch)


def test_every_token_of_every_target_counts_once_its_end_too() -> None:
    rows = example_pairs()
    sums, counts = terms(Seq2Seq(Seq2SeqOptions(smoothing=0.0)))
    assert counts == {"target_token": sum(int((row.targets != IGNORE).sum()) for row in rows)}
    batch = Seq2Seq().collate(rows)
    assert batch.tokens == sum(int((r.segments >= 0).sum() + (r.decoder_segments >= 0).sum()) for r in rows)
    with torch.no_grad():
        inputs = batch_inputs(batch)
        logits = tiny_encoder_decoder()(**inputs, outputs=("logits",))["logits"]
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=IGNORE, reduction="sum"
    )
    assert sums["target_token"] == pytest.approx(float(wanted), rel=1e-5)


def test_smoothing_is_that_of_pytorch() -> None:
    objective = Seq2Seq(Seq2SeqOptions(smoothing=0.2))
    sums, counts = terms(objective)
    weights = objective.weights(0)
    assert weights == {"target_token": 0.8, "smoothing": 0.2}
    batch = objective.collate(example_pairs())
    with torch.no_grad():
        logits = tiny_encoder_decoder()(**batch_inputs(batch), outputs=("logits",))["logits"]
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["targets"].flatten(), ignore_index=IGNORE, label_smoothing=0.2
    )
    total = sum(weights[name] * sums[name] / counts[name] for name in weights)
    assert total == pytest.approx(float(wanted), rel=1e-5)
    assert sums["smoothing"] / counts["smoothing"] >= math.log(64)


def test_hidden_words_are_drawn_anew_and_spare_starts_and_ends() -> None:
    objective, row = Seq2Seq(Seq2SeqOptions(hidden=0.5)), example_pairs()[0]
    first, again, other = (objective.prepare(row, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first.inputs == again.inputs).all()
    assert (first.inputs != other.inputs).any()
    assert (first.targets == row.targets).all()
    for new, old, segments in (
        (first.inputs, row.inputs, row.segments),
        (first.decoder_inputs, row.decoder_inputs, row.decoder_segments),
    ):
        changed = np.flatnonzero(new != old)
        assert (new[changed] == row.pad).all()
        edges = np.flatnonzero(np.diff(segments, prepend=-2, append=-2))
        assert not np.isin(changed, [*edges, *(edges - 1)]).any()
        assert (segments[changed] >= 0).all()
    assert len(np.flatnonzero(first.inputs != row.inputs))
    assert Seq2Seq().prepare(row, np.random.default_rng(0)) is row


@pytest.mark.parametrize("option", ["smoothing", "hidden"])
def test_shares_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=f"objective.{option}=1 must be from 0 to below 1"):
        Seq2SeqOptions(**{option: 1.0})
