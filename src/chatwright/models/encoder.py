"""Encoders, which read a text from both sides: BERT (Devlin et al. 2019).

Post-norm blocks over learned positions and sentence types; a masked language head and a pooler where the options ask
for them. With `causal` the same weights read from the left only, so that one trunk learns from masked and from
next-token terms.

Shape suffixes: B batch, T length, W width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.models.attention import Attention, causal_mask, full_mask
from chatwright.models.heads.labels import pool, real_of
from chatwright.models.heads.masked import MaskedHead
from chatwright.models.layers import MLP, LayerNorm, Linear, table
from chatwright.models.root import Root

_DEVIATION = 0.02


@dataclass(frozen=True)
class EncoderOptions:
    """The shape of an encoder."""

    architecture: ClassVar[str] = "bert"

    vocab_size: int = option(8192, "tokens in the vocabulary")
    width: int = option(256, "width of the hidden states")
    layers: int = option(4, "number of blocks")
    heads: int = option(4, "attention heads; divides width")
    feed_forward: int = option(1024, "inner width of the feed-forward part")
    context: int = option(512, "longest sequence, in tokens")
    types: int = option(2, "sentence types: first text, second text")
    norm_eps: float = option(1e-12, "added to the variance in normalization")
    activation: Literal["gelu", "gelu_tanh", "relu"] = option("gelu", "of the feed-forward part")
    language_head: bool = option(True, "whether it predicts masked tokens")
    pooler: bool = option(True, "whether it sums a row up in one state, for heads over rows")

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "width", "layers", "heads", group="model.")
        at_least(self, 1, "feed_forward", "context", "types", group="model.")
        if self.width % self.heads:
            raise UserError(f"model.heads={self.heads} does not divide model.width={self.width}")

    @property
    def kv_heads(self) -> int:
        return self.heads

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


class EncoderBlock(nn.Module):
    """Attention, then feed-forward, each added to what came in and then normalized (Vaswani et al. 2017)."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        o = options
        self.attention = Attention(
            o.width, o.heads, o.kv_heads, o.head_dim, o.norm_eps, normed=False, bias=True, output_bias=True
        )
        self.attention_norm = LayerNorm(o.width, o.norm_eps)
        self.feed_forward = MLP(o.width, o.feed_forward, o.activation)
        self.feed_forward_norm = LayerNorm(o.width, o.norm_eps)

    def forward(self, x_BTW: Tensor, mask: Tensor | None, kernel: str) -> Tensor:
        x_BTW = self.attention_norm(x_BTW + self.attention(x_BTW, None, mask, kernel))
        return self.feed_forward_norm(x_BTW + self.feed_forward(x_BTW))  # type: ignore[no-any-return]


class Encoder(Root):
    """A bidirectional model; call it as a root: `model(inputs, targets=…, outputs=(…))`."""

    Options = EncoderOptions
    options: EncoderOptions

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        o = self.options = options
        self.compute_dtype = torch.float32
        self.kernel = "plain"
        self.embedding = table(o.vocab_size, o.width)
        self.positions = table(o.context, o.width)
        self.types = table(o.types, o.width)
        self.embedding_norm = LayerNorm(o.width, o.norm_eps)
        self.blocks = nn.ModuleList(EncoderBlock(o) for _ in range(o.layers))
        self.pooler = Linear(o.width, o.width, bias=True) if o.pooler else None
        self.language = (
            MaskedHead(o.width, o.vocab_size, o.norm_eps, o.activation) if o.language_head else None
        )

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
        positions: Tensor | None = None,
        types: Tensor | None = None,
        mask: Tensor | None = None,
        temperature: float = 1.0,
        causal: bool = False,
    ) -> dict[str, Tensor]:
        """Run the model and return what `outputs` names.

        inputs: [B, T] token ids. targets: [B, T] the token to be told at a position, IGNORE where none. segments:
        [B, T] document numbers, -1 at padding: attention stays inside a document. types: [B, T] 0 for the first text,
        1 for the second; 0 where not given. positions: [T] or [B, T], counted from 0 where not given. mask: [B, T, T],
        true where a query may see a key, in place of what segments and causal say. causal: no attention to later
        positions. temperature divides the logits.
        `hidden` [B, T, W]; `pooled` [B, W], from the first real token; `logprobs` and `entropy` [B, T] float32 (need
        targets); `logits` [B, T, V] float32.
        """
        # the split kernels leave out what a causal mask hides
        kernel = self.kernel if self.kernel == "sdpa" or (causal and mask is None) else "plain"
        if mask is None:
            mask = (causal_mask if causal else full_mask)(inputs_BT.size(1), segments, inputs_BT.device)
        else:
            # a query that sees nothing has no softmax; what it gives is never read
            mask = mask | ~mask.any(-1, keepdim=True)
        x_BTW = self._embedded(inputs_BT, positions, types)
        for block in self.blocks:
            x_BTW = block(x_BTW, mask, kernel)
        result = {"hidden": x_BTW} if "hidden" in outputs else {}
        if "pooled" in outputs:
            assert self.pooler is not None, "there is no pooler; set pooler=True"
            first_BW = pool(x_BTW, real_of(inputs_BT, segments), "cls")
            result["pooled"] = self.pooler(first_BW).tanh()
        return result | self._spoken(x_BTW, targets, outputs, temperature)

    def _embedded(self, inputs_BT: Tensor, positions: Tensor | None, types: Tensor | None) -> Tensor:
        if positions is None:
            positions = torch.arange(inputs_BT.size(1), device=inputs_BT.device)
        types = torch.zeros_like(inputs_BT) if types is None else types
        x_BTW = F.embedding(inputs_BT, self.embedding.weight) + F.embedding(types, self.types.weight)
        x_BTW = x_BTW + F.embedding(positions, self.positions.weight)
        return self.embedding_norm(x_BTW).to(self.compute_dtype)  # type: ignore[no-any-return]

    def _spoken(
        self, hidden_BTW: Tensor, targets: Tensor | None, outputs: tuple[str, ...], temperature: float
    ) -> dict[str, Tensor]:
        """What the language head says."""
        if not {"logits", "logprobs", "entropy"} & set(outputs):
            return {}
        assert self.language is not None, "there is no language head; set language_head=True"
        result = {}
        if "logits" in outputs:
            result["logits"] = self.language.logits(hidden_BTW, self.embedding.weight, temperature)
        if "logprobs" in outputs or "entropy" in outputs:
            assert targets is not None, "log-probabilities need targets"
            logprobs, entropy = self.language.logprobs(
                hidden_BTW, self.embedding.weight, targets, "entropy" in outputs, temperature
            )
            result["logprobs"] = logprobs
            if entropy is not None:
                result["entropy"] = entropy
        return result

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights with deviation 0.02 (Devlin et al. 2019, in their code); norms begin at one, biases at zero."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, _DEVIATION, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def compilable(self) -> list[nn.Module]:
        return list(self.blocks)

    def shard_plan(self) -> dict[str, str]:
        """How tensor parallelism splits the weights: by output features (`column`) or by input features (`row`)."""
        return {
            "blocks.*.attention.query": "column",
            "blocks.*.attention.key": "column",
            "blocks.*.attention.value": "column",
            "blocks.*.attention.output": "row",
            "blocks.*.feed_forward.up": "column",
            "blocks.*.feed_forward.down": "row",
            "embedding": "row",
        }

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Multiply-adds of the forward pass times two, per position; every position sees the whole row."""
        o = self.options
        block = 4 * o.width**2 + 2 * o.width * o.feed_forward + 2 * o.width * length
        head = learnt * o.width * (o.width + o.vocab_size) if o.language_head else 0.0
        return 2.0 * (o.layers * block + head)
