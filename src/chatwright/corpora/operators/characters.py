"""Texts as arrays of code points, and what kind each character is: the ground that language and quality count on."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Codes: TypeAlias = npt.NDArray[np.uint32]
Ints: TypeAlias = npt.NDArray[np.int64]

OTHER: Final = 0
NEWLINE: Final = 1
SPACE: Final = 2
LATIN: Final = 3
LETTER: Final = 4
"""Letters (and their marks) of every script but Latin, Han and kana."""
DIGIT: Final = 5
HAN: Final = 6
KANA: Final = 7
HANGUL: Final = 8
END: Final = 9
"""What ends a sentence."""
PUNCTUATION: Final = 10
SIGN: Final = 11
"""The signs that code and markup are made of."""
BROKEN: Final = 12
"""The replacement character, and private characters of fonts and code pages."""

SIZE: Final = 0x20001
"""Tables by code point end here: what lies beyond counts as the last entry, a rare Han character."""

_ENDS = ".!?。！？…．؟。｡।"
_SIGNS = "{}[]()<>=;|\\/&^~`_*+$@#%"
_HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x3007, 0x3007), (0x20000, 0x20000))
_KANA = ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
_HANGUL = ((0xAC00, 0xD7AF), (0x1100, 0x11FF), (0x3130, 0x318F))
_PRIVATE = ((0xE000, 0xF8FF),)
_LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A), (0x300, 0x36F))


def to_codes(text: str) -> Codes:
    """The code points of a text, (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def per_span(values: npt.NDArray[np.uint64], starts: Ints) -> npt.NDArray[np.uint64]:
    """The sums of `values` from each start up to the next one; starts rise, the last span goes to the end."""
    return np.add.reduceat(values, starts) if starts.size else np.zeros(0, np.uint64)


@cache
def kinds() -> npt.NDArray[np.uint8]:
    """The kind of each code point, (SIZE,)."""
    table = np.zeros(SIZE, np.uint8)
    by_category = {"L": LETTER, "M": LETTER, "N": DIGIT, "P": PUNCTUATION, "Z": SPACE}
    table[:] = [by_category.get(unicodedata.category(chr(code))[0], OTHER) for code in range(SIZE)]
    latin = np.zeros(SIZE, bool)
    for first, last in _LATIN:
        latin[first : last + 1] = True
    table[latin & (table == LETTER)] = LATIN
    for kind, spans in ((HAN, _HAN), (KANA, _KANA), (HANGUL, _HANGUL), (BROKEN, _PRIVATE)):
        for first, last in spans:
            table[first : last + 1] = kind
    for kind, characters in ((END, _ENDS), (SIGN, _SIGNS), (BROKEN, "\ufffd"), (SPACE, "\t\r\x0b\x0c")):
        table[[ord(character) for character in characters]] = kind
    table[ord("\n")] = NEWLINE
    table[[ord("·"), ord("・"), ord("ー")]] = (PUNCTUATION, PUNCTUATION, KANA)
    return table


def kinds_of(codes: Codes) -> npt.NDArray[np.uint8]:
    """The kind of each of these code points."""
    return kinds().take(codes, mode="clip")


@cache
def _members(characters: str) -> npt.NDArray[np.bool_]:
    table = np.zeros(SIZE, bool)
    table[[ord(character) for character in characters]] = True
    return table


def among(codes: Codes, characters: str) -> npt.NDArray[np.bool_]:
    """Which of these code points are one of the characters."""
    found: npt.NDArray[np.bool_] = _members(characters).take(codes, mode="clip")
    return found


def packed(*fields: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Up to three tables of yes and no as one, so that one sum counts all three (spans under 2 Mi characters)."""
    table = np.zeros(len(fields[0]), np.uint64)
    for place, field in enumerate(fields):
        table |= field.astype(np.uint64) << np.uint64(21 * place)
    return table


def unpacked(sums: npt.NDArray[np.uint64], count: int = 3) -> list[Ints]:
    """The counts that sums of a packed table hold, field by field."""
    mask = np.uint64((1 << 21) - 1)
    return [((sums >> np.uint64(21 * place)) & mask).astype(np.int64) for place in range(count)]


@cache
def common_han() -> npt.NDArray[np.bool_]:
    """Which code points are Han characters in daily use, (SIZE,): the first level of GB 2312 and of Big5.

    Both standards put their few thousand most frequent characters first. Text in a wrong encoding lands outside.
    """
    table = np.zeros(SIZE, bool)
    simplified = bytes(b for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF) for b in (high, low))
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = bytes(b for high in range(0xA4, 0xC7) for low in trails for b in (high, low))
    for encoded, codec in ((simplified, "gb2312"), (traditional, "big5")):
        table[to_codes(encoded.decode(codec, "ignore"))] = True
    table &= kinds() == HAN
    return table


@cache
def script_sides() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which Han characters are simplified only and traditional only, as OpenCC converts them, each (SIZE,)."""
    import opencc

    characters = [chr(code) for code in np.flatnonzero(kinds() == HAN) if code < SIZE - 1]
    joined = "\n".join(characters)
    sides = []
    for name in ("s2t", "t2s"):
        converted = opencc.OpenCC(name).convert(joined).split("\n")
        table = np.zeros(SIZE, bool)
        table[[ord(a) for a, b in zip(characters, converted, strict=True) if a != b]] = True
        sides.append(table)
    simplified, traditional = sides
    simplified[[ord(character) for character in _BOTH]] = False
    return simplified & ~traditional, traditional & ~simplified


# Simplified forms that are also words of their own in traditional text.
_BOTH = "后里干只台面系表谷丑云范斗松向余曲几才冲划回困志折朴准游秋累胡致舍采郁卷了于吁合同周家帘御征恶愈托欲沈注涌炮症秘签网群苏药虫衹辟迹郎酸钟闲雕须"


def joined(texts: Sequence[str]) -> tuple[Codes, Ints]:
    """All texts with a newline after each as one array of code points, and where each one begins."""
    lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]]) if len(texts) else lengths
    return to_codes("\n".join([*texts, ""])), starts
