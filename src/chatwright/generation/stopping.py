"""Text that ends at a stop string, and shows nothing of it."""

from __future__ import annotations

from collections.abc import Sequence

from chatwright.tokenization.stream import Utf8Stream
from chatwright.tokenization.tokenizer import Tokenizer


class StopStrings:
    """Feed text, get back what surely stands before the first stop string.

    The end of the text that may be the beginning of a stop string is held until the next piece decides. The stop
    string that ends first wins, so the result does not depend on how the text was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that may be shown now; after a stop string always empty."""
        if self.stopped:
            return ""
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        cut = len(text) - max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """What is still held, at the end of the text."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


class TextWriter:
    """From tokens to text: whole characters, up to the first stop string."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._characters = Utf8Stream(tokenizer)
        self._stops = StopStrings(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops.stopped

    def feed(self, token: int) -> str:
        """The text that this token makes sure, often empty."""
        return self._stops.feed(self._characters.feed(token))

    def flush(self) -> str:
        """The rest, after the last token; of a character that was cut off nothing."""
        return self._stops.feed(self._characters.flush(whole=True)) + self._stops.flush()
