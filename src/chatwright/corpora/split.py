"""Train and validation, split by document: a pure function of each document's text and the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, TypeAlias

from chatwright.corpora.documents import Doc, digest
from chatwright.errors import UserError

Side: TypeAlias = Literal["train", "validation"]
SIDES: tuple[Side, Side] = ("train", "validation")

_LONG = 1 << 16
_TAIL = 0.1
_BOUNDARIES = ("\n\n", "\n", "。", "！", "？", ". ", "! ", "? ", "，", ", ", " ")


def position(text: str, seed: int) -> float:
    """Where a text (without the white space around it) falls in [0, 1): evenly, by a hash with the seed."""
    key = hashlib.blake2b(digest(text) + str(seed).encode(), digest_size=8).digest()
    return (int.from_bytes(key, "big") >> 11) / 2**53


def split(documents: Iterator[Doc], fraction: float, seed: int) -> Iterator[tuple[Side, Doc]]:
    """Put each document on a side: validation where its position is below `fraction`. Neither stays empty.

    Equal texts fall on one side, and adding documents moves no others, but for one: as long as all are on
    one side, the document nearest to the other is held back, and is given to it at the end. If that is the
    only document, or longer than 65,536 characters and a tenth of the corpus, only its last part is
    validation: a shelf of three books does not lose one.

    Raises UserError where all the text is less than two characters.
    """
    held = _Held()
    mixed = False
    for doc in documents:
        place = position(doc.text, seed)
        side: Side = "validation" if place < fraction else "train"
        if mixed or held.is_of_other(side):
            yield from held.release()
            mixed = True
            yield side, doc
        else:
            yield from ((side, kept) for kept in held.take(doc, place, side))
    yield from held.end()


class _Held:
    """The documents (equal texts together) that would change sides first, and how much text went by."""

    def __init__(self) -> None:
        self.side: Side = "train"
        self._documents: list[Doc] = []
        self._place = 0.0
        self._passed = 0

    def is_of_other(self, side: Side) -> bool:
        return bool(self._documents) and side != self.side

    def take(self, doc: Doc, place: float, side: Side) -> list[Doc]:
        """Hold `doc` or pass it; what is passed is returned."""
        self.side = side
        nearer = place < self._place if side == "train" else place > self._place
        if self._documents and place == self._place:
            self._documents.append(replace(doc, text=self._documents[0].text))
            return []
        if self._documents and not nearer:
            self._passed += len(doc.text)
            return [doc]
        passed, self._documents, self._place = self._documents, [doc], place
        self._passed += sum(len(kept.text) for kept in passed)
        return passed

    def release(self) -> Iterator[tuple[Side, Doc]]:
        """Let what is held go to its own side."""
        while self._documents:
            yield self.side, self._documents.pop(0)

    def end(self) -> Iterator[tuple[Side, Doc]]:
        """Give what is held to the other side; where that is too much, only its last part to validation."""
        other: Side = "validation" if self.side == "train" else "train"
        for doc in self._documents:
            total = self._passed + len(doc.text)
            long = other == "validation" and len(doc.text) > max(_LONG, _TAIL * total)
            if self._passed and not long:
                yield other, doc
                continue
            head, tail = cut(doc, 1 - min(0.5, _TAIL * total / len(doc.text)))
            yield "train", head
            yield "validation", tail


def cut(doc: Doc, share: float = 1 - _TAIL) -> tuple[Doc, Doc]:
    """Cut a document near `share` of its length: after a paragraph, a line, a sentence, a word, or anywhere.

    The two texts together are the text, and each holds more than white space.
    """
    start = len(doc.text) - len(doc.text.lstrip())
    end = len(doc.text.rstrip())
    if end - start < 2:
        raise UserError(f"{doc.id} is all the text there is; a corpus needs at least 2 characters")
    wanted = min(end - 1, max(start + 1, start + round(share * (end - start))))
    low, high = max(start + 1, wanted - (end - start) // 10), min(end - 1, wanted + (end - start) // 20)
    at = next((at for mark in _BOUNDARIES if (at := _boundary(doc.text, mark, low, wanted, high))), wanted)
    return (
        replace(doc, id=f"{doc.id}#head", text=doc.text[:at]),
        replace(doc, id=f"{doc.id}#tail", text=doc.text[at:]),
    )


def _boundary(text: str, mark: str, low: int, wanted: int, high: int) -> int | None:
    """Where the last `mark` up to `wanted` ends, else the first one after it; from `low` to `high`."""
    before = text.rfind(mark, low - 1, wanted)
    if before >= 0:
        return before + len(mark)
    after = text.find(mark, wanted - 1, high)
    return after + len(mark) if after >= 0 else None
