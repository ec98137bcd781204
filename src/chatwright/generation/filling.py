"""Words for the gaps of a text, from a model that reads both ways: a masked language model (Devlin et al. 2019), a decoder
that learnt `masked` too, or XLNet (Yang et al. 2019), which predicts a gap from all that is known.

Shape suffixes: T length, M masks, V vocabulary.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.encoder import Encoder
from chatwright.models.headed import trunk_of
from chatwright.models.interop.files import load_root, model_directory
from chatwright.models.root import Root
from chatwright.models.xlnet import XLNet
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
    """A model that fills gaps, with its tokenizer."""

    def __init__(self, model: Encoder | Decoder | XLNet, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._framer = None if isinstance(model, XLNet) else Framer(tokenizer)
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
        if _fills(model, directory):
            assert isinstance(model, Encoder | Decoder | XLNet)
            return cls(model, Tokenizer.load(directory))
        raise UserError(
            f"{directory} holds no model that fills gaps; make one with "
            "`chatwright pretrain … model=bert-mini objective=masked`"
        )

    def fill(self, text: str, top_k: int = 5) -> list[list[Guess]]:
        """The likeliest tokens at each mask of the text, best first.

        Several masks are filled independently of each other: none sees what another would become.
        """
        ids, places = self._masked_ids(text)
        with torch.inference_mode():
            logits_MV = self._logits(torch.from_numpy(ids).long()[None], places)
        return [self._best(row, top_k) for row in logits_MV.softmax(-1)]

    def _logits(self, row_1T: Tensor, places: list[int]) -> Tensor:
        """What the model expects at the masks, [M, V]; it sees all but these."""
        model = self.model
        if isinstance(model, Encoder):
            assert model.language is not None
            hidden_1TW = model(row_1T, outputs=("hidden",))["hidden"]
            return model.language.logits(hidden_1TW[0, places], model.embedding.weight)
        if isinstance(model, Decoder):
            return model(row_1T, outputs=("logits",), causal=False)["logits"][0, places]  # type: ignore[no-any-return]
        seen_1TT = torch.ones(1, row_1T.size(1), row_1T.size(1), dtype=torch.bool)
        seen_1TT[:, :, places] = False
        # a target only says where the query stream stands
        targets_1T = torch.full_like(row_1T, IGNORE)
        targets_1T[:, places] = 0
        found = model(row_1T, targets=targets_1T, permutation_mask=seen_1TT, outputs=("logits",))
        return found["logits"][0, places]  # type: ignore[no-any-return]

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
        # a document of a stream stands behind the end of the one before
        whole = [self.tokenizer.endoftext, *ids] if self._framer is None else self._framer.frame(ids).ids
        framed = np.asarray(whole, dtype=np.int32)
        context = self.model.options.context
        if len(framed) > context:
            raise UserError(
                f"the text has {len(framed):,} tokens and the model's context is {context:,}; shorten it"
            )
        return framed, [at for at, index in enumerate(framed.tolist()) if index == self._mask]

    def _best(self, chances_V: Tensor, top_k: int) -> list[Guess]:
        """The likeliest tokens that are text; chances are shares of the whole vocabulary."""
        wanted_V = chances_V.index_fill(0, self._unwanted, -1.0)
        found = wanted_V.topk(min(top_k, len(wanted_V) - len(self._unwanted)))
        return [
            Guess(self.tokenizer.decode([index]), chance)
            for chance, index in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]


def _fills(model: Root, directory: Path) -> bool:
    """Whether a model predicts what stands at a position; of a decoder the run says whether it learnt to."""
    if isinstance(model, Decoder):
        learnt = Run(directory).options.get("objective", {}) if Run(directory).exists else {}
        return "masked" in json.dumps(learnt)
    return isinstance(model, XLNet) or (isinstance(model, Encoder) and model.language is not None)
