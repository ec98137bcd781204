"""What objectives that hide and compare tokens must know of a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from chatwright.tokenization.pairs import control_id
from chatwright.tokenization.special import CLS, MASK, SEP
from chatwright.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenFacts:
    """The control tokens' ids, and of every token the bytes of its text.

    `texts[id]`: bytes, those of the name where the token is a control token; `special` bool[V]: which tokens are.
    """

    mask: int
    cls: int
    sep: int
    pad: int
    texts: tuple[bytes, ...]
    special: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """The facts of a tokenizer; refused where it has no token to mask with, begin with or separate with."""
        size = tokenizer.vocab_size
        special = np.zeros(size, dtype=np.bool_)
        special[list(tokenizer.special_ids)] = True
        texts = tuple(tokenizer.decode_bytes([index], skip_special=False) for index in range(size))
        return cls(
            mask=control_id(tokenizer, MASK, "mask_token"),
            cls=control_id(tokenizer, CLS, "cls_token"),
            sep=control_id(tokenizer, SEP, "sep_token"),
            pad=tokenizer.pad,
            texts=texts,
            special=special,
        )

    @cached_property
    def ordinary(self) -> NDArray[np.int64]:
        """The ids of all tokens that are text."""
        return np.flatnonzero(~self.special)
