"""Likelihood: each token once, bits a byte without control tokens, the same on any number of ranks and batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.distributed.launch import World
from chatwright.evaluation.likelihood import Likelihood, held_out_likelihood, likelihood
from chatwright.objectives.causal import Causal, example_rows, tiny_decoder
from helpers.work import Rows, alone

BYTES = np.where(np.arange(64) < 50, np.arange(64) % 4 + 1, 0)


def scored(rows: int, together: int, world: World | None = None) -> Likelihood:
    packing = Rows(example_rows(learnt_from=2))
    return held_out_likelihood(tiny_decoder(), Causal(), packing, rows, together, BYTES, world or alone())


def test_the_sums_are_those_of_the_table() -> None:
    rows = example_rows(learnt_from=2)
    found = likelihood(tiny_decoder(), [Causal().collate(rows)], BYTES, torch.device("cpu"))
    nats = ordinary = 0.0
    tokens = size = 0
    for row in rows:
        inputs, segments = (torch.from_numpy(x)[None] for x in (row.inputs, row.segments))
        with torch.no_grad():
            logits = tiny_decoder()(inputs, segments=segments, outputs=("logits",))["logits"]
        table = logits[0].log_softmax(-1)
        for place, target in enumerate(row.targets):
            if target != IGNORE:
                nats -= float(table[place, target])
                tokens += 1
                size += int(BYTES[target])
                ordinary -= float(table[place, target]) if BYTES[target] else 0.0
    assert (found.tokens, found.bytes) == (tokens, size)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.ordinary_nats == pytest.approx(ordinary, rel=1e-5)
    assert ordinary < nats
    assert found.loss == pytest.approx(nats / tokens)
    assert found.bits_per_byte == pytest.approx(ordinary / math.log(2) / size)


@pytest.mark.parametrize("together", [1, 5, 12])
def test_scores_do_not_depend_on_the_batch_size(together: int) -> None:
    found, wanted = scored(12, together), scored(12, 3)
    assert (found.tokens, found.bytes) == (wanted.tokens, wanted.bytes)
    assert found.nats == pytest.approx(wanted.nats, rel=1e-5)


@pytest.mark.parametrize("size", [2, 5])
def test_the_ranks_share_the_rows_out(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "sum", lambda self, values: dict(values))
    shares = [scored(7, 2, World(rank, size, torch.device("cpu"))) for rank in range(size)]
    wanted = scored(7, 2)
    assert sum(share.tokens for share in shares) == wanted.tokens
    assert sum(share.nats for share in shares) == pytest.approx(wanted.nats, rel=1e-5)


def test_more_rows_than_there_are_scores_each_once() -> None:
    assert scored(1000, 4) == scored(12, 4)


def test_a_uniform_model_knows_the_logarithm_of_the_vocabulary() -> None:
    model = tiny_decoder()
    torch.nn.init.zeros_(model.embedding.weight)
    found = likelihood(model, [Causal().collate(example_rows(0))], BYTES, torch.device("cpu"))
    assert found.loss == pytest.approx(math.log(64), rel=1e-6)


def test_nothing_scored_is_no_division_by_zero() -> None:
    empty = Likelihood(0.0, 0, 0.0, 0)
    assert (empty.loss, empty.bits_per_byte) == (0.0, 0.0)
