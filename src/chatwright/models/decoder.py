"""The default model: a decoder in exactly Qwen3's shape (Qwen3 technical report 2025, section 2).

RMSNorm before each part, rotary positions, grouped queries with normalized queries and keys, SwiGLU, no biases.
Everything in the ecosystem runs this shape.

Shape suffixes: B batch, T length, W width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.models.attention import Attention, KeyValueCache, causal_mask
from chatwright.models.heads.language import token_logprobs
from chatwright.models.layers import Linear, RMSNorm, SwiGLU
from chatwright.models.positions import rotary_table
from chatwright.models.root import Root


@dataclass(frozen=True)
class DecoderOptions:
    """The shape of a decoder."""

    vocab_size: int = option(8192, "tokens in the vocabulary")
    width: int = option(256, "width of the residual stream")
    layers: int = option(6, "number of blocks")
    heads: int = option(4, "query heads")
    kv_heads: int = option(2, "key-value heads; divides heads")
    head_dim: int = option(64, "width of a head; even")
    feed_forward: int = option(768, "inner width of the feed-forward part")
    context: int = option(1024, "longest sequence, in tokens")
    rope_theta: float = option(10_000.0, "base of the rotary angles")
    norm_eps: float = option(1e-6, "added to the mean square in normalization")
    tied: bool = option(True, "whether the head shares the embedding's weights")

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "width",
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "feed_forward",
            "context",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        if self.heads % self.kv_heads:
            raise UserError(f"model.kv_heads={self.kv_heads} does not divide model.heads={self.heads}")
        if self.head_dim % 2:
            raise UserError(f"model.head_dim={self.head_dim} must be even for rotary positions")


class Block(nn.Module):
    """Attention, then feed-forward, each normalized before and added to the residual stream."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        o = options
        self.attention_norm = RMSNorm(o.width, o.norm_eps)
        self.attention = Attention(o.width, o.heads, o.kv_heads, o.head_dim, o.norm_eps)
        self.feed_forward_norm = RMSNorm(o.width, o.norm_eps)
        self.feed_forward = SwiGLU(o.width, o.feed_forward)

    def forward(
        self,
        x_BTW: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        kernel: str,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        x_BTW = x_BTW + self.attention(self.attention_norm(x_BTW), rotary, mask, kernel, cache, layer)
        return x_BTW + self.feed_forward(self.feed_forward_norm(x_BTW))  # type: ignore[no-any-return]


class Decoder(Root):
    """A causal language model; call it as a root: `model(inputs, targets=…, outputs=(…))`."""

    Options = DecoderOptions

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        self.options = options
        self.compute_dtype = torch.float32
        self.kernel = "plain"
        self.embedding = nn.Embedding(options.vocab_size, options.width)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.layers))
        self.final_norm = RMSNorm(options.width, options.norm_eps)
        self.head = None if options.tied else Linear(options.width, options.vocab_size)

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
        cache: KeyValueCache | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        temperature: float = 1.0,
    ) -> dict[str, Tensor]:
        """Run the model and return what `outputs` names.

        inputs: [B, T] token ids. targets: [B, T], IGNORE where none. segments: [B, T] document numbers: attention
        stays inside a document. positions [B, T] or [T] and mask [B, T, S] are for cached generation.
        temperature divides the logits, as it does in sampling.
        `hidden` [B, T, W]; `logprobs` and `entropy` [B, T] float32 (need targets); `logits` [B, T, V] float32.
        """
        length = inputs_BT.size(1)
        if mask is None and cache is None:
            mask = causal_mask(length, segments, inputs_BT.device)
        if positions is None:
            positions = torch.arange(length, device=inputs_BT.device)
        rotary = self.rotary(positions)
        x_BTW = F.embedding(inputs_BT, self.embedding.weight).to(self.compute_dtype)
        for layer, block in enumerate(self.blocks):
            x_BTW = block(x_BTW, rotary, mask, self.kernel, cache, layer)
        return self._outputs(self.final_norm(x_BTW), targets, outputs, temperature)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for positions [T] or [B, T], ready to broadcast over heads, in the compute type."""
        tables = rotary_table(positions, self.options.head_dim, self.options.rope_theta)
        cos, sin = (
            t.to(self.compute_dtype) if t.dim() == 2 else t[:, None].to(self.compute_dtype) for t in tables
        )
        return cos, sin

    @property
    def head_weight(self) -> Tensor:
        return self.embedding.weight if self.head is None else self.head.weight

    def _outputs(
        self, hidden: Tensor, targets: Tensor | None, outputs: tuple[str, ...], temperature: float
    ) -> dict[str, Tensor]:
        result = {"hidden": hidden} if "hidden" in outputs else {}
        if temperature != 1.0:
            hidden = hidden / temperature
        if "logits" in outputs:
            result["logits"] = F.linear(hidden, self.head_weight.to(hidden.dtype)).float()
        if "logprobs" in outputs or "entropy" in outputs:
            assert targets is not None, "log-probabilities need targets"
            logprobs, entropy = token_logprobs(hidden, self.head_weight, targets, "entropy" in outputs)
            result["logprobs"] = logprobs
            if entropy is not None:
                result["entropy"] = entropy
        return result

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights: matrices keep the size of what they multiply, and those into the residual stream begin at
        zero, so that every block begins as the identity; embeddings have deviation 0.02."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            elif name.endswith(("attention.output.weight", "feed_forward.down.weight")):
                parameter.zero_()
            else:
                is_table = name.startswith(("embedding", "head"))
                deviation = 0.02 if is_table else parameter.size(1) ** -0.5
                parameter.normal_(0.0, deviation, generator=generator)

    def compilable(self) -> list[nn.Module]:
        """The repeated parts: compiling one compiles them all, so that compilation time does not grow with depth."""
        return list(self.blocks)

    def shard_plan(self) -> dict[str, str]:
        """How tensor parallelism splits the weights: by output features (`column`) or by input features (`row`)."""
        return {
            "blocks.*.attention.query": "column",
            "blocks.*.attention.key": "column",
            "blocks.*.attention.value": "column",
            "blocks.*.attention.output": "row",
            "blocks.*.feed_forward.gate": "column",
            "blocks.*.feed_forward.up": "column",
            "blocks.*.feed_forward.down": "row",
            "embedding": "row",
        }

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Multiply-adds of the forward pass times two, per position, in rows of `length`; `learnt` is the share of
        positions that go through the head."""
        o = self.options
        projections = o.width * o.head_dim * (2 * o.heads + 2 * o.kv_heads) + 3 * o.width * o.feed_forward
        attention = o.heads * o.head_dim * length
        return 2.0 * (o.layers * (projections + attention) + learnt * o.width * o.vocab_size)
