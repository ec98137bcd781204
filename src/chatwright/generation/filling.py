"""Words for the gaps of a text, from a masked language model (Devlin et al. 2019).

Shape suffixes: T length, M masks, V vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.encoder import Encoder
from chatwright.models.headed import trunk_of
from chatwright.models.interop.files import load_root, model_directory
from chatwright.runs import Run
from chatwright.tokenization.pairs import Framer, control_id, mask_spellings
from chatwright.tokenization.special import MASK
from chatwright.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A token's text, and its chance at the gap."""

    token: str
    chance: float


class Filler:
    """A masked model with its tokenizer."""

    def __init__(self, model: Encoder, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._framer = Framer(tokenizer)
        self._mask = control_id(tokenizer, MASK, "mask_token")
        spellings = sorted(mask_spellings(tokenizer), key=len, reverse=True)
        self._cuts = re.compile("|".join(map(re.escape, spellings)))
        unknown = range(tokenizer.vocab_size, model.options.vocab_size)
        self._unwanted = torch.tensor(sorted(tokenizer.special_ids | frozenset(unknown)), dtype=torch.long)

    @classmethod
    def load(cls, run: str | Path | Run) -> Self:
        """The model of a finished run, or of a folder in the public layout; refused where it fills nothing in."""
        directory = model_directory(run)
        model = trunk_of(load_root(directory))
        if not isinstance(model, Encoder) or model.language is None:
            raise UserError(
                f"{directory} holds no masked language model; make one with "
                "`chatwright pretrain … model=bert-mini objective=masked`"
            )
        return cls(model, Tokenizer.load(directory))

    def fill(self, text: str, top_k: int = 5) -> list[list[Guess]]:
        """The likeliest tokens at each mask of the text, best first.

        Several masks are filled independently of each other: none sees what another would become.
        """
        ids, places = self._masked_ids(text)
        row_1T = torch.from_numpy(ids).long()[None]
        with torch.inference_mode():
            hidden_1TW = self.model(row_1T, outputs=("hidden",))["hidden"]
            assert self.model.language is not None
            logits_MV = self.model.language.logits(hidden_1TW[0, places], self.model.embedding.weight)
        return [self._best(row, top_k) for row in logits_MV.softmax(-1)]

    def _masked_ids(self, text: str) -> tuple[NDArray[np.int32], list[int]]:
        pieces = self._cuts.split(text)
        if len(pieces) == 1:
            known = " or ".join(mask_spellings(self.tokenizer))
            raise UserError(f"there is no mask in the text {text!r}; write {known} where a word is missing")
        if self.tokenizer.is_byte_level:
            # such tokens begin with the space before a word, and so does what stands behind the mask
            pieces = [*(piece.removesuffix(" ") for piece in pieces[:-1]), pieces[-1]]
        ids = self.tokenizer.encode(pieces[0])
        for piece in pieces[1:]:
            ids += [self._mask, *self.tokenizer.encode(piece)]
        framed = self._framer.frame(ids)
        context = self.model.options.context
        if len(framed.ids) > context:
            raise UserError(
                f"the text has {len(framed.ids):,} tokens and the model's context is {context:,}; shorten it"
            )
        return framed.ids, [at for at, index in enumerate(framed.ids.tolist()) if index == self._mask]

    def _best(self, chances_V: Tensor, top_k: int) -> list[Guess]:
        """The likeliest tokens that are text; chances are shares of the whole vocabulary."""
        wanted_V = chances_V.index_fill(0, self._unwanted, -1.0)
        found = wanted_V.topk(min(top_k, len(wanted_V) - len(self._unwanted)))
        return [
            Guess(self.tokenizer.decode([index]), chance)
            for chance, index in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]
