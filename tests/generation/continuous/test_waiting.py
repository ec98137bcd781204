"""Clients take turns; the requests of one keep their order."""

from __future__ import annotations

from chatwright.generation.continuous.contract import Ask, Client, Ticket
from chatwright.generation.continuous.waiting import RetryAfter, Waiting
from chatwright.generation.engine import Vocabulary
from chatwright.generation.sampling import SamplingOptions


def ticket(client: str, number: int) -> Ticket:
    """Of a host, or of a host's user: `a` or `a/x`."""
    host, _, user = client.partition("/")
    ask = Ask([number], SamplingOptions(), Vocabulary(frozenset()), client=Client(host, user))
    return Ticket(ask, None, lambda: None)


def filled(*clients: str) -> Waiting:
    waiting = Waiting()
    for number, client in enumerate(clients):
        waiting.add(ticket(client, number))
    return waiting


def order(waiting: Waiting) -> list[int]:
    return [waiting.next().ask.prompt[0] for _ in range(len(waiting))]


def test_turns() -> None:
    assert order(filled("a", "a", "a", "b", "c", "b")) == [0, 3, 4, 1, 5, 2]
    assert order(filled("", "", "")) == [0, 1, 2]


def test_a_host_gains_nothing_by_naming_many_users() -> None:
    assert order(filled("a/1", "a/2", "a/3", "a/4", "b", "b")) == [0, 4, 1, 5, 2, 3]
    assert order(filled("a/1", "a/1", "a/2", "b/1")) == [0, 3, 2, 1], "a host's users take turns too"
    waiting = filled("a/1", "b/1", "a/1", "a/2", "b/1")
    assert len(waiting.drop_all()) == 5 and len(waiting) == 0


def test_one_who_comes_later_does_not_jump_the_line() -> None:
    waiting = filled("a", "b", "a")
    assert waiting.next().ask.prompt[0] == 0
    waiting.add(ticket("c", 9))
    assert order(waiting) == [1, 2, 9]


def test_the_cancelled_leave() -> None:
    waiting = Waiting()
    tickets = [ticket("ab"[n % 2], n) for n in range(6)]
    for one in tickets:
        waiting.add(one)
    tickets[0].cancel()
    tickets[3].cancel()
    assert waiting.drop_cancelled() == [tickets[0], tickets[3]] and len(waiting) == 4
    assert order(waiting) == [2, 1, 4, 5] and waiting.drop_all() == []


def test_when_to_come_again_follows_the_last_requests() -> None:
    after = RetryAfter()
    assert after.seconds(0) == 1.0
    for _ in range(60):
        after.heard(10.0)
    assert 9.9 < after.seconds(0) <= 10 and 19.9 < after.seconds(7, 4) <= 20
    for _ in range(60):
        after.heard(0.0)
    assert after.seconds(3) == 1.0, "never less than a second"
