"""What is shown."""

from __future__ import annotations

import pytest
from rich.console import Console

from chatwright import progress
from chatwright.progress import visible


def test_control_characters_reach_no_terminal() -> None:
    assert visible("\x1b[2Jgone\x07\r\x9b1A") == "␛[2Jgone␇␍�1A"
    assert visible("two\nlines\tand 你好 🙂") == "two\nlines\tand 你好 🙂"


def test_a_log_says_the_share_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "console", Console(force_terminal=False))
    shown = progress.Bar("reading", 1.0)
    shown.update(0.04, "4%")
    shown.update(0.5, "loss 2")
    counting = progress.Bar("encoding chats", None)
    counting.update(1200, "1,200 chats")
    assert "encoding chats: 1,200 chats (" in said[2]
    assert "reading:   4% (" in said[0]
    assert "reading:  50% loss 2 (" in said[1]
