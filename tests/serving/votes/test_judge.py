"""The page as a judge: comparisons go into the queue and come back ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatwright.config import build
from chatwright.data.records import Comparison, Message, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.serving.votes.judge import VotesJudge
from chatwright.serving.votes.records import Vote
from chatwright.serving.votes.store import VoteStore

PROMPTS = [Prompt((Message("user", f"问题 {n}"),), {"answer": "hidden"}, f"p:{n}") for n in range(4)]
REPLIES = [["good", "bad"] for _ in range(4)]


def judge(database: str, **options: Any) -> VotesJudge:
    return VotesJudge(build(VotesJudge.Options, {"database": database, **options}))


def ranks(found: list[Comparison | None]) -> list[tuple[int, ...] | None]:
    return [None if one is None else one.ranks for one in found]


def rank_all(
    store: VoteStore, name: str = "", best: str = "good", count: int = 100, unsure: bool = False
) -> None:
    while count and (item := store.queue(name).item) is not None:
        found = [] if unsure else [int(not reply.startswith(best)) for reply in item.replies]
        store.rank(
            Vote(
                "ranking",
                item.messages,
                item.replies,
                item.models,
                item.samplings,
                found,
                name=name,
                item=item.id,
            )
        )
        count -= 1


def test_comparisons_are_put_into_the_queue_and_come_back(store: VoteStore, database: str) -> None:
    with pytest.raises(Interrupted) as stop:
        judge(database).compare(PROMPTS, REPLIES)
    assert "4 of 4 comparisons are open" in str(stop.value) and database in str(stop.value)
    queue = store.queue()
    assert queue.total == 4 and queue.item is not None and sorted(queue.item.replies) == ["bad", "good"]
    assert queue.item.messages == [{"role": "user", "content": "问题 0"}]
    rank_all(store, count=3)
    with pytest.raises(Interrupted, match="1 of 4"):
        judge(database).compare(PROMPTS, REPLIES)
    assert store.queue().total == 4
    assert ranks(judge(database, complete="no").compare(PROMPTS, REPLIES)) == [(0, 1)] * 3 + [None]
    rank_all(store)
    found = judge(database).compare(PROMPTS, REPLIES)
    assert found[2] == Comparison(PROMPTS[2].messages, ("good", "bad"), (0, 1), 0.0, "p:2")
    turned = judge(database).compare(PROMPTS, [["bad", "good"]] * 4)
    assert ranks(turned) == [(1, 0)] * 4, "the same comparison in another order is not asked again"


def test_equal_replies_are_tied_and_nobody_is_asked(local: VoteStore, tmp_path: Path) -> None:
    found = judge(str(tmp_path)).compare(PROMPTS[:1], [["same", " same"]])
    assert ranks(found) == [(0, 0)] and local.queue().total == 0
    with pytest.raises(Interrupted, match="1 of 1"):
        judge(str(tmp_path)).compare(PROMPTS[:2], [["same", "same"], ["good", "good ", "bad"]])
    rank_all(local)
    found = judge(str(tmp_path)).compare(PROMPTS[:2], [["same", "same"], ["good", "good ", "bad"]])
    assert ranks(found) == [(0, 0), (0, 0, 1)]


def test_several_people_are_joined_by_their_mean(local: VoteStore, tmp_path: Path) -> None:
    place = str(tmp_path)
    with pytest.raises(Interrupted):
        judge(place).compare(PROMPTS[:1], REPLIES[:1])
    rank_all(local, "Ann", "good")
    rank_all(local, "Bo", "bad")
    assert ranks(judge(place).compare(PROMPTS[:1], REPLIES[:1])) == [(0, 0)]
    rank_all(local, "Cy", "bad")
    rank_all(local, "Di", unsure=True)
    assert ranks(judge(place).compare(PROMPTS[:1], REPLIES[:1])) == [(1, 0)]


def test_what_nobody_could_decide_is_no_comparison(local: VoteStore, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        judge(str(tmp_path)).compare(PROMPTS[:1], REPLIES[:1])
    rank_all(local, unsure=True)
    assert judge(str(tmp_path)).compare(PROMPTS[:1], REPLIES[:1]) == [None]


def test_the_loop_s_folder_is_the_default(tmp_path: Path) -> None:
    made = VotesJudge(VotesJudge.Options(), tmp_path)
    with pytest.raises(Interrupted, match=r"votes\.sqlite"):
        made.compare(PROMPTS[:1], REPLIES[:1])
    assert (tmp_path / "votes.sqlite").is_file()
    with pytest.raises(UserError, match="needs the option 'database'"):
        VotesJudge(VotesJudge.Options())


def test_more_replies_than_people_can_look_through_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="p:0 has 27 replies"):
        judge(str(tmp_path)).compare(PROMPTS[:1], [[str(n) for n in range(27)]])
