"""What is measured of each text, once, for all rules: an array over the documents for each measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators import characters
from chatwright.corpora.operators.characters import Ints
from chatwright.corpora.operators.quality import boilerplate, repetition, words
from chatwright.corpora.operators.quality import lines as kinds
from chatwright.corpora.operators.quality.lines import Flags, Lines, lay_out
from chatwright.corpora.operators.quality.repetition import Units

Floats: TypeAlias = npt.NDArray[np.float64]
Measures: TypeAlias = dict[str, Floats]

SPACED_GRAM = 4
EAST_GRAM = 8
"""Units of an n-gram: words, or characters. A Chinese word has one and a half to two characters."""
SHORT_SPACED = 30
SHORT_EAST = 12
"""Lines of fewer characters than this are short."""
_LONGEST = 1 << 18
_BLOCK = 1 << 20
_CLOSING = "\"'”’)]」』）】》*_"
_FEW_SENTENCES = 0.2
_SLIPS = 1


def measure(texts: Sequence[str], east: Sequence[bool]) -> Measures:
    """The measures of texts, each of shape (texts,); `east` says which are Chinese or Japanese.

    Shares are between 0 and 1. A text longer than 262,144 characters is measured at its beginning, middle and end.
    """
    parts: list[Measures] = []
    order: list[int] = []
    for side in (False, True):
        chosen = [number for number, flag in enumerate(east) if flag == side]
        for block in _blocks(chosen, texts):
            parts.append(_measure_block([_windows(texts[number]) for number in block], side))
            order.extend(block)
    if not parts:
        return {}
    back = np.argsort(np.array(order))
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def _blocks(chosen: list[int], texts: Sequence[str]) -> Iterator[list[int]]:
    block: list[int] = []
    size = 0
    for number in chosen:
        length = min(len(texts[number]), _LONGEST)
        if block and size + length > _BLOCK:
            yield block
            block, size = [], 0
        block.append(number)
        size += length
    if block:
        yield block


def _windows(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    width = _LONGEST // 3
    middle = (len(text) - width) // 2
    first, second, third = text[:width], text[middle : middle + width], text[-width:]
    return "\n\n".join((_cut(first, False, True), _cut(second, True, True), _cut(third, True, False)))


def _cut(text: str, before: bool, after: bool) -> str:
    """The text without the broken line at its beginning or its end."""
    if before and "\n" in text:
        text = text[text.index("\n") + 1 :]
    if after and "\n" in text:
        text = text[: text.rindex("\n")]
    return text


class _Block:
    """A laid-out batch with what all measures share."""

    def __init__(self, texts: list[str], east: bool) -> None:
        self.east = east
        self.lines = lay_out(texts)
        self.units = repetition.to_units(self.lines)
        self.filled = self.lines.what != kinds.BLANK
        self.text = (self.lines.what >= kinds.PROSE) & (self.lines.what <= kinds.HEADING)
        self.in_text = np.repeat(self.text, np.diff(np.append(self.lines.starts, self.lines.codes.size)))
        self.size = self.lines.per_document(self.lines.counts["size"])
        self.text_size = self.lines.per_document(self.lines.counts["size"] * self.text)
        self._bounds = np.append(self.lines.starts[self.lines.first_line], self.lines.codes.size)

    def count(self, flags: Flags, everywhere: bool = False) -> Ints:
        """How many of the flagged characters, in lines of text or everywhere, each document has."""
        chosen = flags if everywhere else flags & self.in_text
        return np.diff(np.searchsorted(np.flatnonzero(chosen), self._bounds))

    def count_units(self, flags: Flags) -> Ints:
        """How many of the flagged units (in lines of text) each document has."""
        chosen = np.flatnonzero(flags)
        chosen = chosen[self.in_text[self.units.position[self.units.place[chosen]]]]
        return np.diff(np.searchsorted(chosen, self.units.first))


def _measure_block(texts: list[str], east: bool) -> Measures:
    block = _Block(texts, east)
    found = _make_up(block) | _line_ends(block) | _words(block) | _repetition(block.lines, block.units, east)
    found["boilerplate"] = boilerplate.shares(texts, block.lines, block.units, east)
    return {name: values.astype(np.float64) for name, values in found.items()}


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    return np.asarray(part / np.maximum(whole, 1), np.float64)


def _make_up(block: _Block) -> Measures:
    """What the characters and the lines are."""
    lines, counts = block.lines, block.lines.counts
    per_document = lines.per_document
    filled = per_document(block.filled)
    han = per_document(counts["han"])
    found = {
        "size": block.size.astype(np.float64),
        "text": _ratio(block.text_size, block.size),
        "letters": _ratio(per_document((counts["letters"] + counts["east"]) * block.text), block.text_size),
        "all_letters": _ratio(per_document(counts["letters"] + counts["east"]), block.size),
        "digits": _ratio(per_document(counts["digits"]), block.size),
        "broken": _ratio(per_document(counts["broken"]), block.size),
        "latin1": _ratio(per_document(counts["latin1"]), block.size),
        "rare": _ratio(per_document(counts["rare"]), han),
        "han": han.astype(np.float64),
        "lines": filled.astype(np.float64),
        "items": _ratio(per_document(lines.what == kinds.ITEM), filled),
        "links": _ratio(per_document(lines.what == kinds.LINK), filled),
    }
    code, tables = (lines.what == kinds.CODE), (lines.what == kinds.TABLE) | (lines.what == kinds.MARKUP)
    found["code"] = _ratio(per_document(counts["size"] * code), block.size)
    found["markup"] = _ratio(per_document(counts["size"] * tables), block.size)
    return found


def _line_ends(block: _Block) -> Measures:
    """How lines end, how long they are, and how many characters a sentence has."""
    lines = block.lines
    last, before = lines.last, lines.codes[np.maximum(lines.ends - 2, 0)]
    kind = characters.kinds_of(last)
    closed = characters.among(last, _CLOSING)
    ended = (kind == characters.END) | (closed & (characters.kinds_of(before) == characters.END))
    punctuated = ended | closed | (kind == characters.PUNCTUATION)
    prose = lines.what == kinds.PROSE
    plain = prose | (lines.what == kinds.ITEM)
    short = plain & (lines.counts["size"] < (SHORT_EAST if block.east else SHORT_SPACED)) & ~punctuated
    dots = plain & ((last == ord("…")) | _three_dots(lines))
    count = lines.per_document(plain)
    stops = lines.kinds == characters.END
    stops[:-1] &= (
        (lines.kinds[1:] <= characters.SPACE)
        | (lines.codes[:-1] > 0x2000)
        | characters.among(lines.codes[1:], _CLOSING)
    )
    stops &= np.repeat(prose, np.diff(np.append(lines.starts, lines.codes.size)))
    sentences = block.count(stops)
    prose_size = lines.per_document(lines.counts["size"] * prose)
    return {
        "plain_lines": count.astype(np.float64),
        "prose_lines": lines.per_document(prose).astype(np.float64),
        "ended": _ratio(lines.per_document(ended & prose), lines.per_document(prose)),
        "short": _ratio(lines.per_document(short), count),
        "ellipses": _ratio(lines.per_document(dots), count),
        "sentence": prose_size / np.maximum(sentences, _FEW_SENTENCES),
    }


def _three_dots(lines: Lines) -> Flags:
    dots: Flags = lines.last == ord(".")
    for back in (2, 3):
        dots &= lines.codes[np.maximum(lines.ends - back, 0)] == ord(".")
    return dots


def _words(block: _Block) -> Measures:
    """Words: how many, how long, how many small ones, how many of those out of place."""
    lines = block.lines
    solid = lines.kinds > characters.SPACE
    begins = solid.copy()
    begins[1:] &= ~solid[:-1]
    count = block.count(begins)
    if block.east:
        small, misplaced = words.chinese(lines)
        anchors, faults = block.count(small), block.count(misplaced)
        stops = lines.per_document(lines.counts["stop"] * block.text)
        share = _ratio(stops, lines.per_document(lines.counts["han"] * block.text))
    else:
        stop, before_nouns, misplaced = words.english(lines, block.units)
        stops, anchors, faults = map(block.count_units, (stop, before_nouns, misplaced))
        share = _ratio(stops, count)
    return {
        "tokens": block.count(begins, everywhere=True).astype(np.float64),
        "words": count.astype(np.float64),
        "word_length": _ratio(block.text_size, count),
        "hashes": _ratio(lines.per_document(lines.counts["hashes"] * (lines.what == kinds.PROSE)), count),
        "stops": share,
        "misplaced": _ratio(np.maximum(faults - _SLIPS, 0), anchors),
    }


def _repetition(lines: Lines, units: Units, east: bool) -> Measures:
    repeats, top = repetition.gram_shares(units, EAST_GRAM if east else SPACED_GRAM)
    worded = (lines.what != kinds.BLANK) & (lines.what != kinds.CODE)
    length = repetition.repeated_lines(lines, units, worded)
    return {
        "units": np.diff(units.first).astype(np.float64),
        "repeats": repeats,
        "top": top,
        "repeated_lines": _ratio(length, lines.per_document(lines.counts["size"] * worded)),
    }
