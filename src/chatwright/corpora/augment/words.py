"""A text as words and what stands between them, so that both together are the text again."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_PIECES = re.compile(
    r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+|[^\W_]+(?:['’-][^\W_]+)*|[\W_]", re.UNICODE
)
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def split_words(text: str) -> list[str]:
    """Words, and each sign between them by itself; Chinese is cut by jieba's dictionary. Joined they are the text."""
    pieces: list[str] = []
    for piece in _PIECES.findall(text):
        pieces += _segmenter().cut(piece) if is_chinese(piece) else [piece]
    return pieces


def is_word(piece: str) -> bool:
    """Whether a piece is a word and no sign or space."""
    return piece[:1].isalnum()


def is_chinese(piece: str) -> bool:
    return bool(_CHINESE.match(piece))


@cache
def _segmenter() -> Any:
    import rjieba

    return rjieba
