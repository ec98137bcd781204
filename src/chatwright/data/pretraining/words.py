"""Where words begin in a row of tokens: of alphabets by their letters, of Chinese by a dictionary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chatwright.data.pretraining.facts import TokenFacts

# Blocks of Chinese characters, as code points from and to.
_CHINESE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_CHINESE_LEADS = frozenset((*range(0xE3, 0xEA), 0xEF, 0xF0))


class Words:
    """Words of a tokenizer's rows. Chinese text is cut by rjieba (jieba's dictionary, compiled in), and only where a row
    has Chinese characters; a token that holds parts of two words joins them."""

    def __init__(self, facts: TokenFacts) -> None:
        self._texts = facts.texts
        first, last = (np.array([_letter(text, end) for text in facts.texts], np.bool_) for end in (0, -1))
        self._goes_on = np.array([_continues(text) for text in facts.texts], np.bool_)
        pieces = any(text.startswith(b"##") for text in facts.texts)
        # word pieces carry no spaces, so that letters side by side may be two words
        self._first, self._last = np.zeros_like(first) if pieces else first, last
        self._chinese = np.array([_may_be_chinese(text) for text in facts.texts], np.bool_)

    def starts(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a word begins at each position, bool[n]."""
        found = ~self._goes_on[ids]
        found[1:] &= ~(self._first[ids[1:]] & self._last[ids[:-1]])
        found[:1] = True
        if self._chinese[ids].any():
            self._cut_chinese(ids, found)
        return found

    def _cut_chinese(self, ids: NDArray[np.int64], found: NDArray[np.bool_]) -> None:
        """Correct the beginnings between two Chinese characters, in place."""
        pieces = [self._texts[index] for index in ids.tolist()]
        text = b"".join(pieces).decode("utf-8", "surrogateescape")
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        starts = np.concatenate([[0], np.cumsum(_widths(codes))])
        places = np.cumsum([0, *map(len, pieces)])[:-1]
        characters = np.minimum(np.searchsorted(starts, places), len(codes) - 1)
        chinese = _is_chinese(codes)
        between = chinese[characters] & chinese[characters - 1] & (starts[characters] == places)
        between[:1] = False
        found[between] = _word_starts(text)[characters[between]]


def _word_starts(text: str) -> NDArray[np.bool_]:
    """Whether a word begins at each character."""
    import rjieba

    # a byte of a cut character is no text
    shown = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    found = np.zeros(len(text), dtype=np.bool_)
    found[np.cumsum([0, *map(len, rjieba.cut(shown))])[:-1]] = True
    return found


def _widths(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Bytes of each character; of a stray byte, 1."""
    stray = (codes >= 0xD800) & (codes <= 0xDFFF)
    widths = 1 + (codes >= 0x80) + (codes >= 0x800).astype(np.int64) + (codes >= 0x10000)
    return np.where(stray, 1, widths)


def _is_chinese(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    found = np.zeros(len(codes), dtype=np.bool_)
    for low, high in _CHINESE:
        found |= (codes >= low) & (codes <= high)
    return found


def _letter(text: bytes, end: int) -> bool:
    """Whether a token begins (0) or ends (-1) with a letter or digit of an alphabet."""
    shown = text.decode("utf-8", "replace")
    return bool(shown) and shown[end].isalnum() and not any(a <= ord(shown[end]) <= b for a, b in _CHINESE)


def _continues(text: bytes) -> bool:
    """Whether a token never begins a word: a word piece, or the rest of a character."""
    return text.startswith(b"##") or 0x80 <= (text or b" ")[0] < 0xC0


def _may_be_chinese(text: bytes) -> bool:
    return any(byte in _CHINESE_LEADS for byte in text)
