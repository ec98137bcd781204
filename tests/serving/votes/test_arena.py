"""Who meets in the arena."""

from __future__ import annotations

from collections import Counter

import pytest

from chatwright.errors import UserError
from chatwright.serving.votes.arena import WAYS, Draw, ranks_of


def test_two_different_models_meet_on_either_side() -> None:
    draw = Draw(0)
    met = Counter(draw.sides(["x", "y", "z"])[0] for _ in range(600))
    assert set(met) == {(a, b) for a in "xyz" for b in "xyz" if a != b}
    assert all(60 < count < 140 for count in met.values())


def test_a_seed_draws_the_same_and_none_another_each_time() -> None:
    def drawn(seed: int | None) -> list[object]:
        draw = Draw(seed)
        return [draw.sides(["x", "y"]) for _ in range(64)]

    assert drawn(3) == drawn(3) != drawn(4)
    assert drawn(None) != drawn(None)


def test_one_model_meets_itself_in_two_ways() -> None:
    draw = Draw(1)
    seen = [draw.sides(["x"]) for _ in range(50)]
    assert {models for models, _ in seen} == {("x", "x")}
    assert {tuple(way["temperature"] for way in ways) for _, ways in seen} == {(0.3, 1.0), (1.0, 0.3)}
    assert draw.sides(["x", "y"], ["y"])[0] == ("y", "y")
    assert WAYS[0] != WAYS[1]


def test_wanted_models_are_hidden_as_well() -> None:
    draw = Draw(2)
    met = {draw.sides(["x", "y", "z"], ["z", "x"])[0] for _ in range(50)}
    assert met == {("x", "z"), ("z", "x")}
    with pytest.raises(UserError, match="3 models are wanted"):
        draw.sides(["x"], ["x", "y", "z"])
    with pytest.raises(UserError, match="no model that is served here can chat"):
        draw.sides([])


def test_ranks_of_what_was_said() -> None:
    assert [ranks_of(w) for w in ("a", "b", "tie", "both_bad")] == [
        ((0, 1), 0),
        ((1, 0), 0),
        ((0, 0), 0),
        ((0, 0), -1),
    ]
