"""What is shown."""

from __future__ import annotations

from chatwright.progress import visible


def test_control_characters_reach_no_terminal() -> None:
    assert visible("\x1b[2Jgone\x07\r\x9b1A") == "␛[2Jgone␇␍�1A"
    assert visible("two\nlines\tand 你好 🙂") == "two\nlines\tand 你好 🙂"
