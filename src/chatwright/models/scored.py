"""A decoder that gives numbers: a reward model, a value model, or a policy with a value of its own.

Shape suffixes: B batch, T length, K numbers.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.heads.confidence import ConfidenceHead
from chatwright.models.heads.scalar import ScalarHead
from chatwright.models.root import OverTrunk, Root


def decoder_of(root: Root) -> Decoder:
    """The decoder in a root: what writes text."""
    trunk = root.trunk if isinstance(root, ScoredDecoder) else root
    assert isinstance(trunk, Decoder)
    return trunk


class ScoredDecoder(OverTrunk):
    """A decoder's trunk under a scalar head of `numbers` outputs (Ouyang et al. 2022, section 3.5).

    The score of a text stands at its last token, a value at every one. Only with `language` does the trunk keep a
    language head of its own; a value model has no use for it. With `confidence` the scores of a row are also told how
    likely the row's targets are to the trunk's own language head, which is not taught by that.
    """

    Options = DecoderOptions

    trunk: Decoder

    def __init__(
        self, options: DecoderOptions, numbers: int = 1, language: bool = False, confidence: bool = False
    ) -> None:
        super().__init__()
        self.options = options if language or confidence else replace(options, tied=True)
        self.numbers, self.language = numbers, language
        self.trunk = Decoder(self.options)
        self.head = ScalarHead(options.width, numbers)
        self.confidence = ConfidenceHead(numbers) if confidence else None

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        outputs: tuple[str, ...] = ("scores",),
        temperature: float = 1.0,
    ) -> dict[str, Tensor]:
        """As `Decoder.forward`, and `scores` [B, T, K] float32 where `outputs` names them."""
        wanted = {"hidden": True, **dict.fromkeys(name for name in outputs if name != "scores")}
        is_sure = self.confidence is not None and "scores" in outputs
        if is_sure:
            wanted["logprobs"] = True
        result = self.trunk(
            inputs_BT,
            targets=targets,
            segments=segments,
            positions=positions,
            mask=mask,
            outputs=tuple(wanted),
            temperature=temperature,
        )
        if "scores" in outputs:
            result["scores"] = self.head(result["hidden"])
        if self.confidence is not None and is_sure:
            assert targets is not None, "confidence needs the targets of the reply"
            sure_BK = self.confidence(result["logprobs"].detach(), targets != IGNORE)
            result["scores"] = result["scores"] + sure_BK[:, None]
        return {name: result[name] for name in outputs}

    def initialize(self, generator: torch.Generator) -> None:
        self.trunk.initialize(generator)
        self.head.initialize(generator)
        if self.confidence is not None:
            self.confidence.initialize(generator)

    def shard_plan(self) -> dict[str, str]:
        """The trunk's; the head is small and stays whole."""
        return {f"trunk.{name}": how for name, how in self.trunk.shard_plan().items()}

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        return self.trunk.flops_per_token(length, learnt if self.language else 0.0)
