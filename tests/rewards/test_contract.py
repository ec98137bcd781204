"""Rewards are called in one place, which lets through finite numbers and names the row of anything else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.rewards.contract import Mixture, row_name, scores_of

MEND = "mend the function and run the same command again to go on"


def prompts(count: int) -> list[Prompt]:
    return [Prompt((Message("user", f"q{i}"),), source=f"p.jsonl:{i + 1}") for i in range(count)]


def length(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
    return [float(len(reply)) for reply in replies]


def giving(values: Any) -> Callable[..., Any]:
    def fixed(prompts: Sequence[Prompt], replies: Sequence[str]) -> Any:
        return values

    return fixed


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0],
        (1, 2),
        [True, 2],
        np.array([1.0, 2.0], np.float32),
        [np.float32(1), np.int64(2)],
        torch.tensor([1.0, 2.0]),
        [torch.tensor(1), torch.tensor(2.0)],
        iter([1, 2]),
    ],
    ids=str,
)
def test_any_kind_of_number_becomes_a_float(values: Any) -> None:
    found = scores_of(giving(values), prompts(2), ["a", "b"])
    assert found == [1.0, 2.0]
    assert all(type(value) is float for value in found)


def test_nothing_to_score_calls_nothing() -> None:
    assert scores_of(giving("never looked at"), [], []) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "gave nan"),
        (math.inf, "gave inf"),
        (-math.inf, "gave -inf"),
        (10**400, "gave inf"),
        (torch.tensor(math.nan), "gave nan"),
        ("0.5", "gave \"'0.5'\" (a str), which is not a number,"),
        (None, "gave 'None' (a NoneType), which is not a number,"),
        ([1.0], "gave '[1.0]' (a list), which is not a number,"),
        (1j, "gave '1j' (a complex), which is not a number,"),
        (np.array([1.0]), "gave 'array([1.])' (a ndarray), which is not a number,"),
    ],
    ids=str,
)
def test_what_is_no_finite_number_is_refused_with_its_row(value: Any, said: str) -> None:
    wanted = f"the reward fixed {said} for p.jsonl:2 (reply 'the second'); {MEND}"
    with pytest.raises(UserError, match=f"^{re.escape(wanted)}$"):
        scores_of(giving([0.0, value, 0.0]), prompts(3), ["one", "the second", "three"])


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_number_of_values_is_refused(count: int) -> None:
    said = rf"fixed gave {count} values for 3 replies, the first to p\.jsonl:1 \(reply 'a'\); {MEND}"
    with pytest.raises(UserError, match=said):
        scores_of(giving([0.0] * count), prompts(3), ["a", "b", "c"])


@pytest.mark.parametrize("given", [None, 1.0, "111", {"a": 1}, torch.tensor(1.0), np.float64(1)], ids=str)
def test_what_is_no_list_is_refused(given: Any) -> None:
    with pytest.raises(UserError, match=f"fixed gave .* and not a list of numbers; {MEND}"):
        scores_of(giving(given), prompts(3), ["a", "b", "c"])


def test_an_error_names_the_row_that_raises_and_the_line() -> None:
    def fragile(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [1 / len(reply) for reply in replies]

    with pytest.raises(UserError) as refused:
        scores_of(fragile, prompts(3), ["a", "", "c"])
    said = str(refused.value)
    assert "fragile failed on p.jsonl:2 (reply ''): ZeroDivisionError: division by zero (" in said
    assert re.search(r"test_contract\.py:\d+\)", said)
    assert said.endswith(MEND)
    assert "\n" not in said
    assert isinstance(refused.value.__cause__, ZeroDivisionError)


def test_an_error_of_many_rows_together_says_so() -> None:
    def small(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        if len(replies) > 1:
            raise MemoryError("too\nmany")
        return [0.0]

    said = r"small failed on 2 replies together, the first to p\.jsonl:1 \(reply 'a'\): MemoryError: too many"
    with pytest.raises(UserError, match=said):
        scores_of(small, prompts(2), ["a", "b"])


def test_an_error_while_the_values_are_made_is_refused_too() -> None:
    def lazy(prompts: Sequence[Prompt], replies: Sequence[str]) -> Iterator[float]:
        yield 1.0
        raise KeyError("x")

    with pytest.raises(UserError, match=r"lazy failed on .*KeyError"):
        scores_of(lazy, prompts(2), ["a", "b"])  # type: ignore[arg-type]


def test_a_refusal_of_the_reward_itself_stays_as_it_is() -> None:
    def strict(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        raise UserError("p.jsonl:1 has no answer")

    with pytest.raises(UserError, match=r"^p\.jsonl:1 has no answer$"):
        scores_of(strict, prompts(1), ["a"])


def test_an_interrupt_is_no_fault_of_the_reward() -> None:
    def stopped(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scores_of(stopped, prompts(1), ["a"])


def test_a_mixture_is_the_weighted_sum_of_its_parts() -> None:
    mixture = Mixture([("right", 2.0, giving([1.0, 0.0])), ("length", -0.1, length)])
    rows, replies = prompts(2), ["abc", "abcde"]
    parts = mixture.parts(rows, replies)
    assert parts == {"right": [1.0, 0.0], "length": [3.0, 5.0]}
    assert mixture.total(parts) == pytest.approx([1.7, -0.5])
    assert mixture(rows, replies) == mixture.total(parts)
    assert scores_of(Mixture([("x", 0.5, mixture)]), rows, replies) == pytest.approx([0.85, -0.25])
    assert mixture([], []) == []


def test_a_mixture_names_the_part_that_fails() -> None:
    mixture = Mixture([("length", 1.0, length), ("mine", 1.0, giving([math.nan]))])
    with pytest.raises(UserError, match=r"the reward mine gave nan for p\.jsonl:1"):
        scores_of(mixture, prompts(1), ["a"])


def test_a_sum_too_large_is_refused() -> None:
    with pytest.raises(UserError, match="the reward Mixture gave inf"):
        scores_of(Mixture([("big", 10.0, giving([1e308]))]), prompts(1), ["a"])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "at least one reward"),
        ([("a", 1.0, length), ("a", 2.0, length)], "two rewards of the mixture are called 'a'"),
        ([("a", math.nan, length)], "weight of the reward 'a' is nan"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(parts: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Mixture(parts)


def test_rows_are_named_by_their_place_or_their_words() -> None:
    asked = (Message("user", "what\nis " + "x" * 100),)
    assert row_name(Prompt(asked, source="a.jsonl:3")) == "a.jsonl:3"
    assert row_name(Prompt(asked)) == "the prompt 'what is " + "x" * 32 + "…'"
    assert row_name(Prompt(()), "a\n b") == "a prompt (reply 'a b')"
