"""Those who wait for their turn, and how long that may take."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from chatwright.generation.continuous.contract import Ticket

_Users = OrderedDict[str, deque[Ticket]]


class RetryAfter:
    """How many seconds a request took of late, from which follows when it is worth to come again."""

    def __init__(self) -> None:
        self._seconds = 1.0

    def heard(self, seconds: float) -> None:
        """A request took so long."""
        self._seconds += 0.2 * (seconds - self._seconds)

    def seconds(self, waiting: int, together: int = 1) -> float:
        """Seconds until so many who wait, of whom so many are served at once, leave a place; at least one."""
        return max(1.0, self._seconds * (waiting + 1) / together)


class Waiting:
    """A queue in which hosts take turns, and in a host's turn its users; the requests of one user keep their order.

    So whoever names many users gains nothing over other hosts. Not safe for threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Users] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Ticket]:
        return (ticket for users in self._hosts.values() for line in users.values() for ticket in line)

    def add(self, ticket: Ticket) -> None:
        host, user = ticket.ask.client
        self._hosts.setdefault(host, OrderedDict()).setdefault(user, deque()).append(ticket)
        self._count += 1

    def next(self) -> Ticket:
        """Take out the one whose turn it is; its host goes to the end, and its user to the end of the host's."""
        host, users = self._hosts.popitem(last=False)
        user, line = users.popitem(last=False)
        ticket = line.popleft()
        if line:
            users[user] = line
        if users:
            self._hosts[host] = users
        self._count -= 1
        return ticket

    def drop_cancelled(self) -> list[Ticket]:
        """Take out those that were cancelled."""
        return self._take(lambda ticket: ticket.is_cancelled)

    def drop_all(self) -> list[Ticket]:
        return self._take(lambda ticket: True)

    def _take(self, is_taken: Callable[[Ticket], bool]) -> list[Ticket]:
        taken = [ticket for ticket in self if is_taken(ticket)]
        if taken:
            kept = [ticket for ticket in self if not is_taken(ticket)]
            self._hosts, self._count = OrderedDict(), 0
            for ticket in kept:
                self.add(ticket)
        return taken
