"""The confidence head: its features by hand, padding that it does not see, and no lesson for the language model."""

from __future__ import annotations

import math

import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.models.decoder import DecoderOptions
from chatwright.models.heads.confidence import ConfidenceHead, confidence_features
from chatwright.models.scored import ScoredDecoder

SHAPE = DecoderOptions(
    vocab_size=40, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, feed_forward=16, context=16
)


def scored(seed: int = 0) -> ScoredDecoder:
    model = ScoredDecoder(SHAPE, confidence=True)
    model.initialize(torch.Generator().manual_seed(seed))
    assert model.confidence is not None
    with torch.no_grad():
        model.confidence.outer.normal_(0.0, 1.0, generator=torch.Generator().manual_seed(seed))
    return model


def test_features_are_mean_least_and_first() -> None:
    logprobs = torch.tensor([[0.0, -1.0, -3.0, 0.0]])
    mask = torch.tensor([[False, True, True, False]])
    [found] = confidence_features(logprobs, mask).tolist()
    plain = [-2.0, -3.0, -1.0]
    wanted = [value / 3 for value in plain] + [math.log(1e-3 - value) / 3 for value in plain]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_a_row_without_a_reply_has_no_confidence() -> None:
    head = ConfidenceHead(2)
    head.initialize(torch.Generator().manual_seed(0))
    nothing = confidence_features(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool))
    assert nothing.tolist() == [[0.0] * 6]
    begun = head(-torch.rand(2, 3), torch.ones(2, 3, dtype=torch.bool)).detach()
    assert begun.tolist() == [[0.0, 0.0]] * 2, "it begins as 0"


def test_padding_moves_no_score() -> None:
    model = scored()
    inputs = torch.tensor([[3, 4, 5, 6]])
    targets = torch.tensor([[IGNORE, 5, 6, IGNORE]])
    plain = model(inputs, targets=targets)["scores"][0, 3]
    padded = model(
        torch.cat([inputs, torch.zeros(1, 3, dtype=torch.long)], 1),
        targets=torch.cat([targets, torch.full((1, 3), IGNORE)], 1),
    )["scores"][0, 3]
    assert padded.item() == pytest.approx(plain.item(), abs=1e-6)


def test_a_likelier_reply_is_told_from_another() -> None:
    """Same hidden states, other log-probabilities: only the confidence differs."""
    model = scored()
    inputs = torch.tensor([[3, 4, 5, 6]])
    few, many = torch.tensor([[IGNORE, IGNORE, 6, IGNORE]]), torch.tensor([[4, 5, 6, IGNORE]])
    assert model(inputs, targets=few)["scores"][0, 3] != model(inputs, targets=many)["scores"][0, 3]


def test_the_language_model_is_not_taught_to_be_sure() -> None:
    model = scored()
    with torch.no_grad():
        model.head.weight.zero_()
    inputs, targets = torch.tensor([[3, 4, 5]]), torch.tensor([[4, 5, IGNORE]])
    model(inputs, targets=targets)["scores"].sum().backward()
    assert model.confidence is not None
    assert model.confidence.outer.grad is not None
    moved = [n for n, p in model.trunk.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert moved == []
