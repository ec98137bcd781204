"""Documents as lines: where each begins, what it is made of, and what it is (prose, list, table, code …).

Everything is an array over the lines of a whole batch, so that short documents cost no more than long ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators import characters
from chatwright.corpora.operators.characters import Ints

Flags: TypeAlias = npt.NDArray[np.bool_]

BLANK: Final = 0
PROSE: Final = 1
ITEM: Final = 2
HEADING: Final = 3
LINK: Final = 4
TABLE: Final = 5
MARKUP: Final = 6
CODE: Final = 7

_ITEM_MARKS = "-*+•‣◦·●■□◆▪➤※"
_AFTER_NUMBER = ".)、．）:"
_CODE_ENDS = "{};,()[]>:=&|+\\"
_SOURCE_ENDS = "{}[]();=:,\\>"
_DATA_BEGINS = "{}[]"
_DATA_ENDS = "{}[],"
_CORE = "{}[]()<>=;_$\\"
_SOURCE_SAMPLE = 20_000
_KEYWORDS = re.compile(
    r"^[ \t]*(?:import \w|from \S+ import|(?:async )?def \w+\(|class \w+\b.*[:{(]$|return\b.*[\w;)\]}]$|@\w+|raise \w|try:|else:"
    r"|(?:if|for|while|elif|with|except)\b.*(?::|[({]|then|do)$|#\s*(?:include|define|ifn?def|endif|undef|pragma|if)\b|#!/"
    r"|(?:public|private|protected|static|extern|typedef|struct|enum|namespace|using|template|const|let|var|export|function)\b"
    r"|(?:fi|done|esac|then|end|endif|break|pass|continue);?$|\w+\(\) *\{|[A-Z_]+=\S|(?:self|this)\.\w+|\w[\w.]* = \S|\$\w+ ?=|echo |[}\])]+[;,]?$)",
    re.MULTILINE,
)
_BACKTICK, _TILDE, _HASH, _PIPE, _LESS, _GREATER = (ord(mark) for mark in "`~#|<>")
_SPACE = ord(" ")


@dataclass(frozen=True)
class Lines:
    """A batch of N characters in L lines of D documents; line arrays are (L,), character arrays (N,)."""

    codes: npt.NDArray[np.uint32]
    kinds: npt.NDArray[np.uint8]
    starts: Ints
    ends: Ints
    document: Ints
    first_line: Ints
    """The first line of each document, (D,)."""
    counts: dict[str, Ints]
    """Characters of a line by kind: letters, east, digits, signs, broken … and `size`, all but white space."""
    first: npt.NDArray[np.uint32]
    last: npt.NDArray[np.uint32]
    indent: Ints
    what: npt.NDArray[np.uint8]

    def per_document(self, values: npt.NDArray[Any]) -> Ints:
        """The sums of a line array over each document, (D,)."""
        return np.add.reduceat(values.astype(np.int64), self.first_line)


@cache
def _tables() -> list[npt.NDArray[np.uint64]]:
    c, kinds = characters, characters.kinds()
    code = np.arange(characters.SIZE)
    east = (kinds == c.HAN) | (kinds == c.KANA)
    letters = (kinds == c.LATIN) | (kinds == c.LETTER) | (kinds == c.HANGUL)
    particles = np.isin(code, [ord(mark) for mark in _STOP_HAN])
    return [
        c.packed(letters, east, kinds == c.DIGIT),
        c.packed(kinds == c.SIGN, (kinds == c.PUNCTUATION) | (kinds == c.END), kinds == c.BROKEN),
        c.packed(kinds <= c.SPACE, (kinds == c.HAN) & ~c.common_han(), particles),
        c.packed(np.isin(code, [ord(mark) for mark in _CORE])),
        c.packed((code >= 0x80) & (code <= 0xFF), kinds == c.HAN, np.isin(code, [ord("#"), ord("…")])),
    ]


_FIELDS = (
    ("letters", "east", "digits"),
    ("signs", "punctuation", "broken"),
    ("white", "rare", "stop"),
    ("core",),
    ("latin1", "han", "hashes"),
)
# Modern and classical, simplified and traditional.
_STOP_HAN = "的是在了和不有我他这個个们們這之其以也而于於為为與与一人就到要上"


def lay_out(texts: Sequence[str]) -> Lines:
    """The lines of a batch of texts (at least one), counted and told apart."""
    codes, first = characters.joined(texts)
    kinds = characters.kinds_of(codes)
    breaks = np.flatnonzero(kinds == characters.NEWLINE)
    starts = np.concatenate([np.zeros(1, np.int64), breaks[:-1] + 1])
    first_line = np.searchsorted(starts, first)
    document = np.zeros(starts.size, np.int64)
    document[first_line[1:]] = 1
    counts: dict[str, Ints] = {}
    for table, names in zip(_tables(), _FIELDS, strict=True):
        sums = characters.per_span(table.take(codes, mode="clip"), starts)
        counts.update(zip(names, characters.unpacked(sums, len(names)), strict=True))
    counts["size"] = breaks + 1 - starts - counts.pop("white")
    shape = _Shape(codes, kinds, starts, breaks, counts, counts.pop("core"))
    what = _tell_apart(texts, shape, np.cumsum(document), first_line)
    return Lines(
        codes,
        kinds,
        starts,
        breaks,
        np.cumsum(document),
        first_line,
        counts,
        shape.first,
        shape.last,
        shape.indent,
        what,
    )


class _Shape:
    """What stands at the beginning and the end of each line."""

    def __init__(
        self,
        codes: npt.NDArray[np.uint32],
        kinds: npt.NDArray[np.uint8],
        starts: Ints,
        ends: Ints,
        counts: dict[str, Ints],
        core: Ints,
    ) -> None:
        self.core = core
        self.codes, self.ends, self.counts = codes, ends, counts
        filled = counts["size"] > 0
        begin, finish = starts.copy(), np.maximum(ends - 1, 0)
        loose = np.flatnonzero(
            filled & ((kinds[begin] == characters.SPACE) | (kinds[finish] == characters.SPACE))
        )
        if loose.size:
            solid = np.flatnonzero(kinds > characters.SPACE)
            begin[loose] = solid[np.searchsorted(solid, begin[loose])]
            finish[loose] = solid[np.searchsorted(solid, finish[loose], side="right") - 1]
        self.begin, self.filled = begin, filled
        self.indent = begin - starts
        self.first = np.where(filled, codes[begin], 0).astype(np.uint32)
        self.last = np.where(filled, codes[finish], 0).astype(np.uint32)

    def at(self, offset: int) -> npt.NDArray[np.uint32]:
        """The character that many places after the first solid one, 0 past the end of the line."""
        place = np.minimum(self.begin + offset, self.codes.size - 1)
        return np.where(self.begin + offset < self.ends, self.codes[place], 0).astype(np.uint32)

    def holds(self, before: str, after: str) -> Flags:
        """The lines in which the one character is followed by the other."""
        found = np.flatnonzero(self.codes[:-1] == ord(before))
        found = found[self.codes[found + 1] == ord(after)]
        flags = np.zeros(self.ends.size, bool)
        flags[np.searchsorted(self.ends, found)] = True
        return flags


def _tell_apart(
    texts: Sequence[str], shape: _Shape, document: Ints, first_line: Ints
) -> npt.NDArray[np.uint8]:
    """What each line is, (L,)."""
    counts, first, last = shape.counts, shape.first, shape.last
    second, third = shape.at(1), shape.at(2)
    what = np.where(shape.filled, PROSE, BLANK).astype(np.uint8)
    digit = (first >= 0x30) & (first <= 0x39)
    numbered = digit & (characters.among(second, _AFTER_NUMBER) | characters.among(third, _AFTER_NUMBER))
    marked = characters.among(first, _ITEM_MARKS) & ((second == _SPACE) | (first > 0x7F))
    what[shape.filled & (numbered | marked)] = ITEM
    what[(first == _HASH) & ((second == _SPACE) | (second == _HASH))] = HEADING
    fence = ((first == _BACKTICK) | (first == _TILDE)) & (second == first) & (third == first)
    linked, link = _links(shape)
    what[_code_like(shape) & (what != HEADING) & ~linked] = CODE
    _spread_code(what, counts["size"], document)
    what[(first == _PIPE) | ((last == _PIPE) & (counts["signs"] > 2))] = TABLE
    what[(first == _LESS) & (last == _GREATER)] = MARKUP
    what[link] = LINK
    bare = (
        (counts["signs"] + counts["punctuation"] == counts["size"]) & (counts["latin1"] == 0) & (what < TABLE)
    )
    what[shape.filled & bare] = MARKUP
    what[_source(texts, shape, what, document, first_line)] = CODE
    what[fence | (_within_fences(fence, document, first_line) & shape.filled)] = CODE
    return what


def _code_like(shape: _Shape) -> Flags:
    """Lines with as many signs as code has; sentences have few, and formulas count as code."""
    counts = shape.counts
    size, signs = counts["size"], counts["signs"]
    ends = characters.among(shape.last, _CODE_ENDS)
    dense = signs * 100 >= size * np.where(ends, 8, 20)
    words = (counts["letters"] * 10 >= size * 3) & (counts["digits"] * 10 < size * 3)
    words &= (counts["latin1"] * 10 < size) & (counts["east"] * 4 < size)
    return (signs >= 1) & dense & words & (signs * 2 >= counts["punctuation"])


def _source(
    texts: Sequence[str], shape: _Shape, what: npt.NDArray[np.uint8], document: Ints, first_line: Ints
) -> Flags:
    """The lines of documents that are source code or settings as a whole.

    There, three lines in ten have brackets and signs at their ends, six in ten with those that are indented or
    comments, and few end as sentences do. Where comments are longer than the code, its keywords tell.
    """
    counts, first, last = shape.counts, shape.first, shape.last
    brackets = (shape.core >= 1) & characters.among(last, _SOURCE_ENDS)
    dense = (shape.core * 100 >= counts["size"] * 12) & (counts["letters"] * 10 >= counts["size"] * 3)
    data = (characters.among(first, _DATA_BEGINS) & characters.among(last, _DATA_ENDS)) | (
        shape.holds('"', ":") & (first == ord('"'))
    )
    strong = (
        (brackets | dense | data) & (counts["east"] * 4 < counts["size"]) & ((what < LINK) | (what == CODE))
    )
    ended = (characters.kinds_of(last) == characters.END) & ~strong
    comment = np.zeros(first.size, bool)
    comment[1:] = (first[1:] == _HASH) & (first[:-1] == _HASH) & (document[1:] == document[:-1])
    comment |= (first == ord("/")) & characters.among(shape.at(1), "/*")
    weak = (
        (((shape.indent > 0) & (what != ITEM) & (what != LINK) & (what != TABLE)) | comment)
        & ~strong
        & shape.filled
    )
    filled = np.add.reduceat(shape.filled.astype(np.int64), first_line)

    def share(flags: Flags) -> npt.NDArray[np.float64]:
        return np.asarray(np.add.reduceat(flags.astype(np.int64), first_line) / np.maximum(filled, 1))

    strongly = share(strong)
    is_source = (strongly >= 0.3) & (share(strong | weak) >= 0.6) & (share(ended & ~comment) < 0.25)
    for number in np.flatnonzero(~is_source & (strongly >= 0.08) & (filled >= 5)).tolist():
        is_source[number] = _has_keywords(texts[number])
    return (is_source & (filled >= 5))[document] & shape.filled


def _has_keywords(text: str) -> bool:
    """Whether one line in ten begins as a line of code does; Markdown has its code in fences."""
    sample = text[:_SOURCE_SAMPLE]
    if "```" in sample:
        return False
    found = len(_KEYWORDS.findall(sample))
    return found >= 3 and found * 10 >= sample.count("\n") - sample.count("\n\n")


def _links(shape: _Shape) -> tuple[Flags, Flags]:
    """Lines with a Markdown link in them, and lines that are one, alone or as a list item."""
    opens = (shape.first == ord("[")) | (
        characters.among(shape.first, _ITEM_MARKS) & (shape.at(2) == ord("["))
    )
    linked = shape.holds("]", "(")
    return linked, linked & opens & (shape.last == ord(")"))


def _spread_code(what: npt.NDArray[np.uint8], size: Ints, document: Ints) -> None:
    """Make a block between blank lines code when half of it is: code has lines that look like words."""
    edge = what == BLANK
    edge[1:] |= document[1:] != document[:-1]
    edge[0] = True
    begins = np.flatnonzero(edge)
    code = np.add.reduceat(np.where(what == CODE, size, 0), begins)
    whole = np.add.reduceat(size, begins)
    block = np.cumsum(edge) - 1
    prose = (what == PROSE) | (what == ITEM)
    what[(code * 2 >= whole)[block] & prose] = CODE
    what[(code * 5 < whole)[block] & (what == CODE)] = PROSE


def _within_fences(fence: Flags, document: Ints, first_line: Ints) -> Flags:
    """Lines between an opening and a closing fence; a fence that nothing closes opens nothing."""
    if not fence.any():
        return np.zeros(fence.size, bool)
    so_far: Ints = np.cumsum(fence)
    before: Ints = (so_far - fence)[first_line]
    number: Ints = so_far - before[document]
    total: Ints = np.add.reduceat(fence.astype(np.int64), first_line)
    inside: Flags = (number % 2 == 1) & (number <= (total - total % 2)[document])
    return inside
