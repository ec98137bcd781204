"""Where in a row the texts stand that are to be changed."""

from __future__ import annotations

from typing import Any

from chatwright.errors import UserError

FIELDS = ("text", "content", "prompt", "src", "source", "instruction", "question")
"""Where the text of a row is looked for, unless `field=` says; in `messages` it is what the user says."""

Place = tuple[str | int, ...]


def places_of(row: dict[str, Any], where: str, field: str | None) -> list[Place]:
    """Where the texts of a row stand."""
    if field is not None:
        if not isinstance(row.get(field), str):
            raise UserError(
                f"{where}: there is no text in {field!r}; the row has {', '.join(map(repr, row))}"
            )
        return [(field,)]
    if isinstance(row.get("messages"), list):
        said = [(at, message) for at, message in enumerate(row["messages"]) if isinstance(message, dict)]
        return [
            ("messages", at, "content")
            for at, message in said
            if message.get("role") == "user" and isinstance(message.get("content"), str)
        ]
    named = next((name for name in FIELDS if isinstance(row.get(name), str)), None)
    if named is None:
        keys = ", ".join(map(repr, row)) or "none"
        raise UserError(f"{where}: which field holds the text? The row has {keys}; say it with field=KEY")
    return [(named,)]


def text_at(row: Any, place: Place) -> str:
    for key in place:
        row = row[key]
    return str(row)


def put_at(row: Any, place: Place, text: str) -> None:
    for key in place[:-1]:
        row = row[key]
    row[place[-1]] = text
