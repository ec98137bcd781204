"""What was met but not read: rows counted by reason, files listed one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from chatwright.corpora.documents import Tally, encodable, path_text

MOST_LISTED = 100_000
"""How many files are listed; more are only counted."""


class Skipped(Tally):
    """Counts by reason with the first place of each, and beside them every file that was left out or cut short.

    `files` maps a reason to `(path, detail)` of each such file, in the order in which they were met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, list[tuple[str, str]]] = {}
        self._listed = 0

    def add_file(self, reason: str, path: str, detail: str = "") -> None:
        """Count and list one file; `detail` says more than the reason, under which many files are counted."""
        self.add(reason, path)
        self._list(reason, path_text(path), encodable(detail))

    def _list(self, reason: str, path: str, detail: str) -> None:
        if self._listed < MOST_LISTED:
            self._listed += 1
            self.files.setdefault(reason, []).append((path, detail))

    def merge(self, later: Skipped) -> None:
        """Add what was met after these."""
        for reason, count in later.items():
            self[reason] += count
            self.places.setdefault(reason, later.places[reason])
        for reason, entries in later.files.items():
            for path, detail in entries:
                self._list(reason, path, detail)

    def as_json(self) -> dict[str, Any]:
        """As plain values for a file; `from_json` makes the same of it."""
        return {"counts": dict(self), "places": self.places, "files": self.files}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Skipped:
        """What `as_json` wrote down."""
        skipped = cls()
        skipped.update(values["counts"])
        skipped.places.update(values["places"])
        for reason, entries in values["files"].items():
            for path, detail in entries:
                skipped._list(reason, path, detail)
        return skipped


def note_skip(skipped: Counter[str], reason: str, place: str) -> None:
    """Count a skipped thing, with its place where the counter remembers places."""
    if isinstance(skipped, Tally):
        skipped.add(reason, place)
    else:
        skipped[reason] += 1


def note_file(skipped: Counter[str], reason: str, path: str, detail: str = "") -> None:
    """Count a file that was left out or cut short, and list it where the counter lists files."""
    if isinstance(skipped, Skipped):
        skipped.add_file(reason, path, detail)
    else:
        note_skip(skipped, reason, path)
