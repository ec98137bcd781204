"""Heads over a trunk's states: labels of a row or of every token, spans, choices, numbers, embeddings.

Shape suffixes: B batch, T length, W width, N numbers of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import option
from chatwright.errors import UserError

Kind = Literal["sequence", "token", "span", "choice", "regression", "embedding"]
Pooling = Literal["pooled", "cls", "last", "mean"]
ROW_KINDS = ("sequence", "choice", "regression")
_DEVIATION = 0.02


@dataclass(frozen=True)
class HeadOptions:
    """What a head gives, and what of a row it reads."""

    kind: Kind = option("sequence", "sequence, token, span, choice, regression or embedding")
    labels: tuple[str, ...] = option((), "names of what is told apart; of a regression, of its numbers")
    pooling: Pooling | None = option(
        None, "what of a row is read: pooled, cls, last, mean; the trunk's own way"
    )
    normalized: bool = option(False, "whether an embedding has length 1")

    def __post_init__(self) -> None:
        if self.kind in ("sequence", "token") and not self.labels:
            raise UserError(f"a head of the kind {self.kind} needs labels; name at least one")
        if self.kind in ("span", "choice", "embedding") and self.labels:
            raise UserError(f"a head of the kind {self.kind} has no labels; leave {self.labels} out")

    @property
    def numbers(self) -> int:
        """How many numbers the head gives at each place it reads."""
        return {"span": 2, "choice": 1}.get(self.kind, max(1, len(self.labels)))


# Devlin et al. 2019, section 3.1: whether the second text follows the first, or is from elsewhere.
NEXT_SENTENCE = HeadOptions("sequence", ("next", "random"))
# Lan et al. 2020 (ALBERT), section 3.1: whether two neighbours stand in their order.
SENTENCE_ORDER = HeadOptions("sequence", ("ordered", "swapped"))
# Clark et al. 2020 (ELECTRA): whether a token is not the text's own.
REPLACED = HeadOptions("token", ("replaced",))
SPAN, CHOICE = HeadOptions("span"), HeadOptions("choice")


def numbered(count: int, kind: Kind = "sequence") -> HeadOptions:
    """A head that says which of `count` it is: a position, a class without a name."""
    return HeadOptions(kind, tuple(map(str, range(count))))


class LabelHead(nn.Module):
    """`y = W h + b` over one state or every state, in float32 whatever the activations' type."""

    def __init__(self, width: int, options: HeadOptions) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(options.numbers, width))
        self.bias = nn.Parameter(torch.empty(options.numbers))

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., W] in the compute type to [..., N] float32."""
        return F.linear(hidden.float(), self.weight, self.bias)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Deviation 0.02 (Devlin et al. 2019), biases zero."""
        self.weight.normal_(0.0, _DEVIATION, generator=generator)
        self.bias.zero_()


def real_of(inputs_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
    """True at what is not padding, [B, T]."""
    return torch.ones_like(inputs_BT, dtype=torch.bool) if segments_BT is None else segments_BT >= 0


def pool(hidden_BTW: Tensor, real_BT: Tensor, how: Literal["cls", "last", "mean"]) -> Tensor:
    """One state a row: the first real token's, the last one's, or the mean over them in float32, [B, W].

    A row that is all padding gives something finite.
    """
    if how == "mean":
        weights_BT1 = real_BT[..., None].float()
        return (hidden_BTW.float() * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1.0)
    rows = torch.arange(len(real_BT), device=real_BT.device)
    marks_BT = real_BT.int()
    at_B = marks_BT.argmax(1) if how == "cls" else real_BT.size(1) - 1 - marks_BT.flip(1).argmax(1)
    return hidden_BTW[rows, at_B]
