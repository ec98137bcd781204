"""Ranks, and the judge that ranks by a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from chatwright.config import build
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.rewards.endpoint import EndpointJudge
from chatwright.rewards.judges import FunctionJudge, digest, ranks_of
from chatwright.rewards.people import PeopleJudge


def prompt(text: str = "q", source: str = "p:1") -> Prompt:
    return Prompt((Message("user", text),), {}, source)


class Lengths:
    """Scores replies by their length, and counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        self.calls += 1
        return [float(len(reply)) for reply in replies]


@pytest.mark.parametrize(
    ("points", "tie", "wanted"),
    [
        ([1.0, 2.0], 0.0, (1, 0)),
        ([2.0, 2.0], 0.0, (0, 0)),
        ([0.0, 3.0, 3.0, 1.0], 0.0, (2, 0, 0, 1)),
        ([-1.0, -1.5], 0.5, (0, 0)),
        ([-1.0, -1.6], 0.5, (0, 1)),
        # a chain of near scores is cut at the best of each rank
        ([3.0, 2.5, 2.0, 1.5], 0.5, (0, 0, 1, 1)),
        ([5.0], 0.0, (0,)),
    ],
)
def test_ranks(points: list[float], tie: float, wanted: tuple[int, ...]) -> None:
    assert ranks_of(points, tie) == wanted


def test_a_reward_ranks_the_replies_of_every_prompt() -> None:
    reward = Lengths()
    judge = FunctionJudge(FunctionJudge.Options(), reward)
    rows = [prompt("a", "p:1"), prompt("b", "p:2")]
    first, second = judge.compare(rows, [["xx", "x", "xx"], ["", "yyyy"]])
    assert first is not None
    assert second is not None
    assert first.ranks == (0, 1, 0)
    assert list(first.pairs()) == [(0, 1), (2, 1)]
    assert (second.ranks, second.replies, second.prompt) == ((1, 0), ("", "yyyy"), rows[1].messages)
    assert (second.source, second.margin) == ("p:2", 0.0)
    assert reward.calls == 1
    assert judge.compare([], []) == []


def test_near_scores_are_ties_when_asked() -> None:
    judge = FunctionJudge(build(FunctionJudge.Options, {"tie": "1"}), Lengths())
    (found,) = judge.compare([prompt()], [["xx", "x", ""]])
    assert found is not None
    assert found.ranks == (0, 0, 1)


def test_a_score_that_is_no_number_is_refused_with_its_row() -> None:
    judge = FunctionJudge(FunctionJudge.Options(), lambda p, r: [0.0, math.nan, 0.0, 0.0])
    with pytest.raises(UserError, match=r"gave nan for p:1 \(reply 'b'\)"):
        judge.compare([prompt(), prompt("b", "p:2")], [["a", "b"], ["c", "d"]])


@pytest.mark.parametrize("tie", [-1.0, math.nan])
def test_a_tie_that_cannot_be_is_refused(tie: float) -> None:
    with pytest.raises(UserError, match="must be 0 or more"):
        FunctionJudge.Options(tie=tie)


@pytest.mark.parametrize("kind", ["function", "endpoint", "people"])
def test_no_judge_compares_one_reply(kind: str, tmp_path: object) -> None:
    file = tmp_path / "file.jsonl"  # type: ignore[operator]
    judge = {
        "function": lambda: FunctionJudge(FunctionJudge.Options(), Lengths()),
        "endpoint": lambda: EndpointJudge(EndpointJudge.Options("http://localhost:1", "m"), file),
        "people": lambda: PeopleJudge(PeopleJudge.Options(), file),
    }[kind]()
    with pytest.raises(UserError, match="p:2 has 1 replies; a judge needs at least 2"):
        judge.compare([prompt(), prompt("b", "p:2")], [["a", "b"], ["c"]])
    assert not file.exists()


def test_a_digest_stands_for_a_value_in_every_process() -> None:
    assert digest(["猫", {"b": 1, "a": "\ud800"}]) == digest(["猫", {"a": "\ud800", "b": 1}])
    assert digest(["猫"]) == "eccdf346afd720d8f5ae35918d6dca704b915bfc3f7f74bcd8ff5f654eefdf7c"
    assert digest("a") != digest(["a"])
