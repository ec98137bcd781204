"""One text or a pair of texts as an encoder reads them: `[CLS] a [SEP]`, `[CLS] a [SEP] b [SEP]` (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatwright.errors import UserError
from chatwright.tokenization.special import CLS, MASK, SEP
from chatwright.tokenization.tokenizer import Tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class FramedText:
    """`ids` int32[n], `types` int32[n] (0 for the first text and its frame, 1 for the second), and how many tokens did
    not fit."""

    ids: NDArray[np.int32]
    types: NDArray[np.int32]
    cut: int = 0


def lay_frame(texts: Sequence[Sequence[int] | Ids], cls: int, sep: int) -> tuple[Ids, Ids]:
    """`[CLS] a [SEP] b [SEP] …` and the type of every position, int64[n] both: the texts of a pair have 0 and 1."""
    sizes = [len(text) + 1 for text in texts]
    ids = np.full(1 + sum(sizes), sep, dtype=np.int64)
    ids[0], at = cls, 1
    for text, size in zip(texts, sizes, strict=True):
        ids[at : at + size - 1] = text
        at += size
    types = np.zeros(len(ids), dtype=np.int64)
    if len(texts) == 2:
        types[1 + sizes[0] :] = 1
    return ids, types


class Framer:
    """Frames texts with a tokenizer's own control tokens: `<|cls|> <|sep|>` of ours, `[CLS] [SEP]` of imported ones."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.cls = control_id(tokenizer, CLS, "cls_token")
        self.sep = control_id(tokenizer, SEP, "sep_token")

    def frame(
        self, first: Sequence[int], second: Sequence[int] | None = None, longest: int | None = None
    ) -> FramedText:
        """Tokens of one text, or of two, in their frame, at most `longest` in all; of a pair the longer text is cut
        first."""
        sizes = (len(first), 0 if second is None else len(second))
        kept = sizes
        if longest is not None:
            framing = 2 if second is None else 3
            if longest <= framing:
                raise UserError(f"a context of {longest} tokens has no room for a text; {framing} frame it")
            kept = room_for(*sizes, longest - framing)
        texts = [first[: kept[0]], *([] if second is None else [second[: kept[1]]])]
        ids, types = lay_frame(texts, self.cls, self.sep)
        return FramedText(ids.astype(np.int32), types.astype(np.int32), sum(sizes) - sum(kept))


def room_for(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept in `room`: the longer is cut down to the other, then both alike, and what
    is odd stays with the longer one."""
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (room - shorter, shorter) if first > second else (shorter, room - shorter)


def control_id(tokenizer: Tokenizer, own: str, name: str) -> int:
    """The id of a control token: of ours, as the tokenizer's configuration names it, or by BERT's spelling."""
    known = tokenizer.special_tokens
    public = f"[{name.removesuffix('_token').upper()}]"
    for token in (tokenizer.named_tokens.get(name), own, public):
        if token in known:
            return known[token]
    raise UserError(f"the tokenizer has neither {own} nor {public}; it was not made for an encoder")


def mask_spellings(tokenizer: Tokenizer) -> tuple[str, ...]:
    """How a mask may be written in a text: `[MASK]`, `<|mask|>`, and the tokenizer's own."""
    return tuple(dict.fromkeys(["[MASK]", MASK, tokenizer.named_tokens.get("mask_token", MASK)]))
