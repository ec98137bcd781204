"""Train and validation, split by document: a pure function of each document's text and the seed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.documents import Doc, digest
from chatwright.errors import UserError

Side: TypeAlias = Literal["train", "validation"]
SIDES: tuple[Side, Side] = ("train", "validation")
TRAIN, VALIDATION, CUT = 0, 1, 2
"""The sides as numbers; of a document that is cut the head is for training and the tail for validation."""

Array: TypeAlias = npt.NDArray[Any]


_LONG = 1 << 16
_TAIL = 0.1
_BOUNDARIES = ("\n\n", "\n", "。", "！", "？", ". ", "! ", "? ", "，", ", ", " ")


def position(text: str, seed: int) -> float:
    """Where a text (without the white space around it) falls in [0, 1): evenly, by a hash with the seed."""
    key = hashlib.blake2b(digest(text) + str(seed).encode(), digest_size=8).digest()
    return (int.from_bytes(key, "big") >> 11) / 2**53


def sides(places: Array, characters: Array, fraction: float) -> tuple[Array, float]:
    """The side of each document: VALIDATION where its place is below `fraction`. Neither side stays empty.

    `places` and `characters` (float64 and int64, one for each document, in order) are what `position` gives and
    the lengths. Equal texts fall on one side, and adding documents moves no others, but for this: where all are
    on one side, the text nearest to the other goes over to it. If that is the only text, or longer than 65,536
    characters and a tenth of the corpus, it is CUT instead, and only its last part is validation: a shelf of
    three books does not lose one. Also returns the share of a text that `cut` leaves to training.
    """
    found = np.where(places < fraction, VALIDATION, TRAIN).astype(np.int8)
    if not len(found) or (found != found[0]).any():
        return found, 1 - _TAIL
    is_train = bool(found[0] == TRAIN)
    nearest = places == (places.min() if is_train else places.max())
    length = int(characters[nearest][0])
    total = int(characters[~nearest].sum()) + length
    long = is_train and length > max(_LONG, _TAIL * total)
    if nearest.all() or long:
        found[nearest] = CUT
        return found, 1 - min(0.5, _TAIL * total / length)
    found[nearest] = VALIDATION if is_train else TRAIN
    return found, 1 - _TAIL


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
