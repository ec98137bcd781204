"""Text from tokens that arrive one by one, in whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from chatwright.tokenization.tokenizer import Tokenizer


class Utf8Stream:
    """Feed ids, get text back; a character split over tokens (Chinese, emoji) is held until it is whole.

    The pieces joined equal `tokenizer.decode` of all the ids.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._sent = ""

    def feed(self, ids: int | Iterable[int]) -> str:
        """The text that became whole with these ids, often empty."""
        new = [ids] if isinstance(ids, int) else [int(index) for index in ids]
        if self._tokenizer.is_byte_level:
            return self._decoder.decode(self._tokenizer.decode_bytes(new, self._skip_special))
        self._ids += new
        text = self._tokenizer.decode(self._ids, self._skip_special)
        # such a decoder cannot say whether the character is broken or only unfinished, so the end waits
        return self._advance(text.rstrip("\ufffd"))

    def flush(self, whole: bool = False) -> str:
        """What is still held; bytes that never became a character are U+FFFD, or with `whole` nothing. The stream is then
        empty."""
        if whole:
            # what could still become a character has been held, and all else was given
            rest = ""
        elif self._tokenizer.is_byte_level:
            rest = self._decoder.decode(b"", final=True)
        else:
            rest = self._advance(self._tokenizer.decode(self._ids, self._skip_special))
        self._decoder.reset()
        self._ids, self._sent = [], ""
        return rest

    def _advance(self, text: str) -> str:
        if not text.startswith(self._sent):
            return ""
        piece, self._sent = text[len(self._sent) :], text
        return piece
