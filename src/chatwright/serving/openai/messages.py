"""Messages as clients send them, made plain for templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_KEPT = ("name", "tool_call_id", "reasoning_content", "tool_calls")


def plain_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each message with its content as one text; a developer is the system."""
    plain = []
    for message in messages:
        role = "system" if message["role"] == "developer" else message["role"]
        kept = {key: message[key] for key in _KEPT if message.get(key)}
        plain.append({"role": role, "content": _text(message.get("content")), **kept})
    return plain


def _text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    if content is None:
        return ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
