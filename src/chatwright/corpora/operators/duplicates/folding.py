"""Characters folded, so that texts which differ in case, width, punctuation or Chinese script look alike.

One table over all code points says what a character counts as: nothing (white space, punctuation, signs), a part of a
word (letters, marks and digits, in lower case and normal width), or a word by itself (scripts that write no spaces).
Simplified and Traditional forms of a character, as OpenCC (Guo 2010) converts them, are one class: 发, 發 and 髮 all
count as 发. Classes of single characters make conversions agree where whole words do not: OpenCC turns 瞭解 into 了解,
but the other way round it has to guess.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

ALONE = np.uint32(1 << 31)
"""The bit that says that a character is a word by itself."""

_CODE_POINTS = 0x110000
_LETTERS = ((0x30, 0x2E80), (0x2E80, 0xD800), (0xF900, 0x10000), (0x10000, 0x20000))
_HAN = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
# Thai, Lao, Myanmar, Khmer, the kana, Han
_UNSPACED = ((0xE00, 0xF00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3005, 0x3008), (0x3041, 0x3100), *_HAN)
_CONVERSIONS = ("t2s", "s2t", "tw2s", "hk2s", "s2tw", "s2hk")


@cache
def folding() -> npt.NDArray[np.uint32]:
    """The table: for each code point 0, or the folded code point, with `ALONE` where it is a word by itself."""
    table = np.zeros(_CODE_POINTS, np.uint32)
    for first, last in _LETTERS:
        for code in range(first, last):
            character = chr(code)
            if unicodedata.category(character)[0] in "LMN":
                table[code] = _plain(character)
    for first, last in _HAN:
        table[first:last] = np.arange(first, last)
    classes = _script_classes()
    table = np.where(table < _CODE_POINTS, classes[table], table)
    table[0] = 0
    for first, last in _UNSPACED:
        table[first:last] |= np.where(table[first:last] > 0, ALONE, np.uint32(0))
    table.setflags(write=False)
    return table


def _plain(character: str) -> int:
    """The code point of a character in lower case and normal width, or its own where that is not one character."""
    folded = unicodedata.normalize("NFKC", character).lower()
    return ord(folded) if len(folded) == 1 else ord(character)


def _script_classes() -> npt.NDArray[np.uint32]:
    """For each code point the smallest one that OpenCC connects it with, its own where there is none."""
    import opencc

    characters = [chr(code) for first, last in _HAN for code in range(first, last)]
    root: dict[str, str] = {}

    def find(character: str) -> str:
        while character in root:
            character = root[character]
        return character

    for name in _CONVERSIONS:
        converted = opencc.OpenCC(name).convert("\n".join(characters)).split("\n")
        for before, after in zip(characters, converted, strict=True):
            if before != after and len(after) == 1:
                one, other = sorted((find(before), find(after)))
                if one != other:
                    root[other] = one
    classes = np.arange(_CODE_POINTS, dtype=np.uint32)
    for character in root:
        classes[ord(character)] = ord(find(character))
    return classes
