"""A trunk under named heads: classification, spans, choices, numbers and embeddings on any model of the family.

Shape suffixes: B batch, T length, W width, N numbers of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.models.encoder import Encoder
from chatwright.models.heads.labels import ROW_KINDS, HeadOptions, LabelHead, Pooling, pool, real_of
from chatwright.models.root import OverTrunk, Root

_TRUNKS_OWN = {"hidden", "pooled", "logprobs", "entropy", "logits", "balance"}


class Headed(OverTrunk):
    """A trunk (`Encoder`, `Decoder` …) under named heads; a head's name is the name of its output.

    `options` are the trunk's, `head_options` {name: HeadOptions}. What a head gives, in float32:
    `sequence` [B, N] logits of labels; `token` [B, T, N] logits of labels at every position; `span` [B, T, 2] logits of
    beginning and end; `choice` [B], the score of one choice a row; `regression` [B, N] numbers; `embedding` [B, W].
    Every head but `token` and `span` reads a row as one text, or one pair.
    """

    def __init__(self, trunk: Root, heads: Mapping[str, HeadOptions]) -> None:
        super().__init__()
        assert not _TRUNKS_OWN & heads.keys(), "an output of the trunk has that name"
        self.trunk, self.options, self.head_options = trunk, trunk.options, dict(heads)
        # called `head` as the decoder's is: optimizers treat such weights as tables
        self.head = nn.ModuleDict(
            {
                name: LabelHead(trunk.options.width, head)
                for name, head in heads.items()
                if head.kind != "embedding"
            }
        )

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        segments: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
        **how: Any,
    ) -> dict[str, Tensor]:
        """As the trunk's forward, which takes `how` (targets, positions, types, mask, causal …), and what heads give
        where `outputs` names them.

        segments: [B, T] document numbers, negative at padding, which no head over rows reads.
        """
        wanted = dict.fromkeys(name for name in outputs if name not in self.head_options)
        for name in outputs:
            if name in self.head_options:
                wanted["pooled" if self.pooling(name) == "pooled" else "hidden"] = None
        result = self.trunk(inputs_BT, segments=segments, outputs=tuple(wanted), **how)
        real_BT = real_of(inputs_BT, segments)
        return {
            name: self._given(name, result, real_BT) if name in self.head_options else result[name]
            for name in outputs
        }

    def pooling(self, name: str) -> Pooling | None:
        """What a head reads of a row: as its options say, or as its trunk sums rows up; None: every state."""
        head = self.head_options[name]
        if head.kind not in (*ROW_KINDS, "embedding"):
            return None
        return head.pooling or ("mean" if head.kind == "embedding" else own_pooling(self.trunk))

    def _given(self, name: str, result: Mapping[str, Tensor], real_BT: Tensor) -> Tensor:
        head, pooling = self.head_options[name], self.pooling(name)
        if pooling is None:
            state = result["hidden"]
        else:
            state = result["pooled"] if pooling == "pooled" else pool(result["hidden"], real_BT, pooling)
        if head.kind == "embedding":
            return F.normalize(state.float(), dim=-1) if head.normalized else state.float()
        numbers: Tensor = self.head[name](state)
        return numbers.squeeze(-1) if head.kind == "choice" else numbers

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        self.trunk.initialize(generator)
        self.initialize_heads(generator)

    @torch.no_grad()
    def initialize_heads(self, generator: torch.Generator) -> None:
        """Draw the heads only: for a trunk that has learnt already."""
        for head in self.head.values():
            assert isinstance(head, LabelHead)
            head.initialize(generator)

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """The trunk's: what the heads add is small."""
        return self.trunk.flops_per_token(length, learnt)


def own_pooling(trunk: Root) -> Pooling:
    """How a trunk sums a row up: by its pooler, its first state, or its last where it reads from the left."""
    if isinstance(trunk, Encoder):
        return "pooled" if trunk.pooler is not None else "cls"
    return "last"


def trunk_of(root: Root) -> Root:
    """The model under the heads, if there are heads."""
    return root.trunk if isinstance(root, Headed) else root
