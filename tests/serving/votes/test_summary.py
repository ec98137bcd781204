"""What the votes say in sum."""

from __future__ import annotations

import json

import pytest

from chatwright.evaluation.answers import wilson_interval
from chatwright.serving.votes.records import Queue
from chatwright.serving.votes.summary import summary
from helpers.voted import arena, thumb

QUEUE = Queue(1, 4)


def test_nothing_yet() -> None:
    found = summary([], Queue(0, 0))
    assert found["votes"] == 0 and found["thumbs"] == found["win_rates"] == found["strengths"] == []
    assert found["first"] is None and found["agreement"]["comparisons"]["same"] is None
    json.dumps(found, allow_nan=False)


def test_counts() -> None:
    votes = [
        thumb(1, name="Ann", created=1.0),
        thumb(-1, model="other", better="b", created=2.0),
        arena((0, 0), value=-1, name="Bo", created=3.0),
        arena((), kind="ranking", created=4.0),
    ]
    found = summary(votes, QUEUE)
    assert found["votes"] == 4 and found["kinds"] == {"thumb": 2, "arena": 1, "ranking": 1}
    assert (found["people"], found["unnamed"]) == (2, 2) and (found["first"], found["last"]) == (1.0, 4.0)
    assert (found["better_answers"], found["both_bad"], found["unsure"]) == (1, 1, 1)
    assert found["queue"] == {"done": 1, "total": 4}
    json.dumps(found, allow_nan=False)


def test_thumbs_have_a_share_with_its_interval() -> None:
    found = summary([thumb(1), thumb(1), thumb(-1), thumb(1, model="b")], QUEUE)["thumbs"]
    assert [(one["model"], one["up"], one["down"]) for one in found] == [("b", 1, 0), ("chat", 2, 1)]
    assert found[1]["share"] == pytest.approx(2 / 3) and found[1]["interval"] == list(wilson_interval(2, 3))


def test_win_rates_are_those_of_a_whatever_the_side() -> None:
    votes = [arena((0, 1)), arena((1, 0), ("y", "x")), arena((0, 0)), arena((1, 0))]
    [one] = summary(votes, QUEUE)["win_rates"]
    assert (one["a"], one["b"], one["wins"], one["ties"], one["losses"]) == ("x", "y", 2, 1, 1)
    assert one["rate"] == 0.625 and one["interval"] == list(wilson_interval(2.5, 4))


def test_rankings_of_several_models_make_strengths() -> None:
    votes = [arena((0, 1, 2), ("x", "y", "z"), ("p", "q", "r"), kind="ranking")] * 3
    found = summary(votes, QUEUE)
    assert [one["model"] for one in found["strengths"]] == ["x", "y", "z"]
    assert len(found["win_rates"]) == 3 and found["strengths"][0]["games"] == 6


def test_one_model_competes_with_itself_by_its_sampling() -> None:
    ways = [{"temperature": 0.3, "top_p": 1}, {"temperature": 1.0, "top_p": 1}]
    [one] = summary([arena((0, 1), ("m", "m"), samplings=ways)], QUEUE)["win_rates"]
    assert (one["a"], one["b"], one["wins"]) == ("m temperature=0.3", "m temperature=1.0", 1)
    unknown = [arena((0, 1), ("", "")), arena((0, 1), ("m", "m"))]
    assert summary(unknown, QUEUE)["win_rates"] == []


def test_people_agree_on_the_same_replies_in_any_order() -> None:
    votes = [
        arena((0, 1), name="Ann"),
        arena((1, 0), replies=("bad", "good"), name="Bo"),
        arena((0, 1), text="2", name="Ann"),
        arena((1, 0), text="2", name="Bo"),
        arena((0, 1), text="2"),
        thumb(1, name="Ann"),
        thumb(1, name="Bo"),
    ]
    found = summary(votes, QUEUE)["agreement"]
    assert (found["comparisons"]["things"], found["comparisons"]["same"]) == (2, 0.5)
    assert (found["thumbs"]["things"], found["thumbs"]["same"]) == (1, 1.0)
    changed = [*votes, arena((0, 1), text="2", name="Bo")]
    assert summary(changed, QUEUE)["agreement"]["comparisons"]["same"] == 1.0, "the last word counts"
