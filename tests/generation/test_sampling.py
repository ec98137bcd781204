"""Known answers of the filters, and draws that depend on nothing but their seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chatwright.errors import UserError
from chatwright.generation.sampling import (
    SamplingOptions,
    chances,
    draw,
    next_tokens,
    penalize,
    seen_tokens,
    token_logprobs,
    truncate,
)

PROBS = torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)


def drawn(options: SamplingOptions, logits: torch.Tensor, count: int = 4000) -> np.ndarray:
    """How often each token comes when one row is drawn many times, evenly over all chances."""
    chance = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    ids = next_tokens(logits.expand(count, -1), options, chance)
    return np.bincount(ids.numpy(), minlength=logits.size(-1)) / count


def test_top_p_keeps_the_shortest_beginning_that_holds_enough() -> None:
    assert truncate(PROBS, top_p=0.5).tolist() == [[0.5, 0, 0, 0]]
    assert truncate(PROBS, top_p=0.51).tolist() == [[0.5, 0.25, 0, 0]]
    assert truncate(PROBS, top_p=0.01).tolist() == [[0.5, 0, 0, 0]]
    assert truncate(PROBS, top_p=1.0).tolist() == PROBS.tolist()


def test_min_p_is_a_share_of_the_likeliest() -> None:
    assert truncate(PROBS, min_p=0.5).tolist() == [[0.5, 0.25, 0, 0]]
    assert truncate(PROBS, min_p=0.51).tolist() == [[0.5, 0, 0, 0]]
    assert truncate(PROBS.flip(-1), min_p=0.5).tolist() == [[0, 0, 0.25, 0.5]]


def test_the_draw_inverts_the_running_sum_and_skips_what_is_impossible() -> None:
    chance = torch.tensor([0.0, 0.4999, 0.5, 0.7499, 0.75, 0.9999999999999999], dtype=torch.float64)
    assert draw(PROBS.expand(6, -1), chance).tolist() == [0, 0, 1, 1, 2, 3]
    holes = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64)
    assert set(draw(holes.expand(6, -1), chance).tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"top_p": 1.0}, [0.125, 0.5, 0.25, 0.125]),
        ({"top_p": 1.0, "top_k": 2}, [0, 2 / 3, 1 / 3, 0]),
        ({"top_p": 0.6}, [0, 2 / 3, 1 / 3, 0]),
        ({"top_p": 1.0, "min_p": 0.4}, [0, 2 / 3, 1 / 3, 0]),
        # Top-p sees what top-k left: 2/3 and 1/3.
        ({"top_p": 0.6, "top_k": 2}, [0, 1, 0, 0]),
        ({"top_p": 1.0, "temperature": 0.5}, [1 / 22, 16 / 22, 4 / 22, 1 / 22]),
    ],
)
def test_the_frequencies_of_a_known_distribution(changes: dict[str, float], expected: list[float]) -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0, 1.0]]).log() + 3.0
    options = SamplingOptions(**{"temperature": 1.0, **changes})  # type: ignore[arg-type]
    np.testing.assert_allclose(drawn(options, logits), expected, atol=2 / 4000)


def test_a_nucleus_wider_than_the_first_few_hundred_is_found_whole() -> None:
    logits = torch.zeros(1, 2000)
    frequencies = drawn(SamplingOptions(temperature=1.0, top_p=0.8999), logits)
    assert (frequencies > 0).sum() == 1800


def test_temperature_zero_is_greedy_and_a_small_one_nearly() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.9]])
    assert next_tokens(logits, SamplingOptions(temperature=0.0)).tolist() == [1]
    assert drawn(SamplingOptions(temperature=0.001), logits)[1] == 1.0


def test_the_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    seen = torch.tensor([[True, True, False, False]])
    penalized = penalize(torch.tensor([[2.0, -1.0, 2.0, -1.0]]), seen, 2.0)
    assert penalized.tolist() == [[1.0, -2.0, 2.0, -1.0]]
    options = SamplingOptions(temperature=0.0, repetition_penalty=2.0)
    assert next_tokens(torch.tensor([[2.0, -1.0, 1.5, -1.0]]), options, seen_BV=seen).tolist() == [2]


def test_seen_tokens_are_those_of_the_row() -> None:
    assert seen_tokens([[0, 2], [1]], 3).tolist() == [[True, False, True], [False, True, False]]


def test_chances_depend_on_seed_and_row_alone() -> None:
    assert chances(7, 3, 20)[:5].tolist() == chances(7, 3, 5).tolist()
    assert len({chances(seed, row, 1)[0] for seed in range(5) for row in range(5)}) == 25
    many = np.concatenate([chances(0, row, 1) for row in range(2000)])
    assert abs(many.mean() - 0.5) < 0.03


def test_logprobs_are_of_the_full_distribution_at_the_temperature() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert token_logprobs(logits, torch.tensor([1]), 1.0).item() == pytest.approx(math.log(0.75))
    assert token_logprobs(logits, torch.tensor([1]), 0.5).item() == pytest.approx(math.log(0.9))
    assert token_logprobs(logits, torch.tensor([0]), 0.0).item() == pytest.approx(math.log(0.25))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("seed", -1),
        ("stop", ("a", "")),
        ("stop", "word"),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UserError, match=field):
        SamplingOptions(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [1e-7, 1e-38, 1e-300])
def test_a_temperature_that_would_overflow_is_greedy(temperature: float) -> None:
    options = SamplingOptions(temperature=temperature)
    assert options.is_greedy and options == SamplingOptions(temperature=0.0)
    assert not SamplingOptions(temperature=1e-3).is_greedy
