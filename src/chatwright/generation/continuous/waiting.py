"""Those who wait for a slot, every client in its turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from chatwright.generation.continuous.contract import Ticket


class Waiting:
    """A queue in which clients take turns; the requests of one client keep their order.

    Not safe for threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: Ticket) -> None:
        self._lines.setdefault(ticket.ask.client, deque()).append(ticket)
        self._count += 1

    def next(self) -> Ticket:
        """Take out the one whose turn it is; its client goes to the end."""
        client, line = self._lines.popitem(last=False)
        ticket = line.popleft()
        if line:
            self._lines[client] = line
        self._count -= 1
        return ticket

    def drop_cancelled(self) -> list[Ticket]:
        """Take out those that were cancelled."""
        return self._take(lambda ticket: ticket.is_cancelled)

    def drop_all(self) -> list[Ticket]:
        return self._take(lambda ticket: True)

    def _take(self, is_taken: Callable[[Ticket], bool]) -> list[Ticket]:
        taken = [ticket for line in self._lines.values() for ticket in line if is_taken(ticket)]
        if taken:
            kept = {client: deque(t for t in line if not is_taken(t)) for client, line in self._lines.items()}
            self._lines = OrderedDict((client, line) for client, line in kept.items() if line)
            self._count -= len(taken)
        return taken
