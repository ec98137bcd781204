"""How two texts differ, in pieces that can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from chatwright.corpora.documents import common_beginning

SAME: Final = "same"
OUT: Final = "out"
IN: Final = "in"

_TOKEN = re.compile(r"[A-Za-z0-9]+|[ ]+|.", re.DOTALL)
_MOST_TOKENS = 2000
_HELD = 1_000_000
_ALIKE = 0.4
_UNSEEN = {code: f"‹{code:04X}›" for code in (0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF)}


class Piece(NamedTuple):
    """A stretch of text that both have (`same`), only the first (`out`), or only the second (`in`)."""

    kind: str
    text: str


def difference(before: str, after: str) -> list[Piece]:
    """What became of `before`; the pieces that are not `in` make up `before`, those that are not `out` `after`.

    Lines are set against lines, then words within lines that changed. Not always the shortest difference: what is
    hardly alike, and of very long texts what lies between the common beginning and end, is shown as exchanged.
    """
    head = common_beginning(before, after)
    tail = common_beginning(before[head:][::-1], after[head:][::-1])
    middle = before[head : len(before) - tail], after[head : len(after) - tail]
    inner = list(_by_lines(*middle)) if max(map(len, middle)) <= _HELD else _exchanged(*middle)
    return joined([Piece(SAME, before[:head]), *inner, Piece(SAME, before[len(before) - tail :])])


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces without empty ones, neighbours of one kind as one; what goes stands before what comes in its place."""
    found: list[Piece] = []
    pending = {OUT: "", IN: ""}
    for kind, text in [*pieces, Piece(SAME, "")]:
        if kind != SAME:
            pending[kind] += text
        elif text or any(pending.values()):
            found += [Piece(name, held) for name, held in pending.items() if held]
            pending = {OUT: "", IN: ""}
            if text and found and found[-1].kind == SAME:
                found[-1] = Piece(SAME, found[-1].text + text)
            elif text:
                found.append(Piece(SAME, text))
    return found


def shortened(pieces: Sequence[Piece], around: int = 60) -> list[Piece]:
    """The pieces with at most `around` characters of what is the same beside each change, `…` for the rest."""
    found = []
    for number, (kind, text) in enumerate(pieces):
        if kind == SAME:
            before = around if number else 0
            after = around if number < len(pieces) - 1 else 0
            if len(text) > before + after + 1:
                text = text[:before] + "…" + text[len(text) - after :]
        found.append(Piece(kind, text))
    return found


def seen(text: str, kind: str = SAME) -> str:
    """The text with characters that nobody sees as their numbers; of what went or came also ends of lines and tabs."""
    text = text.translate(_UNSEEN)
    if kind == SAME:
        return text
    text = text.replace("\n", "⏎\n").replace("\t", "⇥")
    return text.replace(" ", "·") if text.isspace() else text


def _by_lines(before: str, after: str) -> Iterator[Piece]:
    left, right = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if max(len(left), len(right)) > _MOST_TOKENS:
        yield from _exchanged(before, after)
        return
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        old, new = "".join(left[a:b]), "".join(right[c:d])
        yield from [Piece(SAME, old)] if kind == "equal" else _by_words(old, new)


def _by_words(before: str, after: str) -> Iterator[Piece]:
    left, right = _TOKEN.findall(before), _TOKEN.findall(after)
    if not left or not right or max(len(left), len(right)) > _MOST_TOKENS:
        yield from _exchanged(before, after)
        return
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    shared = sum(_words(left[a : a + size]) for a, _, size in matcher.get_matching_blocks())
    if shared < _ALIKE * max(1, _words(left), _words(right)):
        yield from _exchanged(before, after)
        return
    for kind, a, b, c, d in matcher.get_opcodes():
        old, new = "".join(left[a:b]), "".join(right[c:d])
        yield from [Piece(SAME, old)] if kind == "equal" else _exchanged(old, new)


def _words(tokens: Sequence[str]) -> int:
    """How many tokens are not white space."""
    return sum(not token.isspace() for token in tokens)


def _exchanged(before: str, after: str) -> list[Piece]:
    return [Piece(OUT, before), Piece(IN, after)]
