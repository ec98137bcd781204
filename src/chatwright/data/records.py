"""The records that training takes: plain values, whatever the file that they came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A text, and where it came from."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class Message:
    """One turn; `role` is `system`, `user`, `assistant` or `tool`."""

    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """A conversation, and where it came from (`file:line`)."""

    messages: tuple[Message, ...]
    source: str = ""
