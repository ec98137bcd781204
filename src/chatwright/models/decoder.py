"""Decoders, which write text: GPT-1 to GPT-3, Llama, Qwen. They differ in the parts that a `Parts` names.

By default the parts are exactly Qwen3's: RMSNorm before each part, rotary positions, grouped queries with normalized
queries and keys, SwiGLU, no biases. The files in `family/` say which parts the others have.

Shape suffixes: B batch, T length, W width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.models.attention import Attention, KeyValueCache, causal_mask, full_mask
from chatwright.models.heads.language import token_logprobs
from chatwright.models.layers import MLP, LayerNorm, Linear, RMSNorm, SwiGLU
from chatwright.models.positions import rotary_table
from chatwright.models.root import Root


@dataclass(frozen=True)
class Parts:
    """What an architecture is made of; its sizes are options, its parts are not.

    norm_after: normalized after the addition to the residual stream (Vaswani et al. 2017), not before the part. bias:
    nowhere, at queries, keys and values, or at every linear map.
    """

    norm: Literal["rms", "layer"] = "rms"
    norm_after: bool = False
    positions: Literal["rotary", "learned"] = "rotary"
    normed_heads: bool = True
    bias: Literal["none", "qkv", "all"] = "none"
    feed_forward: Literal["swiglu", "gelu", "gelu_tanh"] = "swiglu"


@dataclass(frozen=True)
class DecoderOptions:
    """The shape of a decoder; of Qwen3, where no subclass says otherwise."""

    architecture: ClassVar[str] = "qwen3"
    parts: ClassVar[Parts] = Parts()

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


def _norm(options: DecoderOptions) -> nn.Module:
    kind = RMSNorm if options.parts.norm == "rms" else LayerNorm
    return kind(options.width, options.norm_eps)


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream and normalized before, or after the addition."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        o, parts = options, options.parts
        qkv, everywhere = parts.bias != "none", parts.bias == "all"
        self.norm_after = parts.norm_after
        self.attention_norm = _norm(o)
        self.attention = Attention(
            o.width, o.heads, o.kv_heads, o.head_dim, o.norm_eps, parts.normed_heads, qkv, everywhere
        )
        self.feed_forward_norm = _norm(o)
        self.feed_forward = (
            SwiGLU(o.width, o.feed_forward)
            if parts.feed_forward == "swiglu"
            else MLP(o.width, o.feed_forward, parts.feed_forward)
        )

    def forward(
        self,
        x_BTW: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        kernel: str,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        if self.norm_after:
            x_BTW = self.attention_norm(x_BTW + self.attention(x_BTW, rotary, mask, kernel, cache, layer))
            return self.feed_forward_norm(x_BTW + self.feed_forward(x_BTW))  # type: ignore[no-any-return]
        x_BTW = x_BTW + self.attention(self.attention_norm(x_BTW), rotary, mask, kernel, cache, layer)
        return x_BTW + self.feed_forward(self.feed_forward_norm(x_BTW))  # type: ignore[no-any-return]


class Decoder(Root):
    """A causal language model; call it as a root: `model(inputs, targets=…, outputs=(…))`."""

    Options = DecoderOptions
    options: DecoderOptions

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        self.options = options
        self.compute_dtype = torch.float32
        self.kernel = "plain"
        parts = options.parts
        self.embedding = nn.Embedding(options.vocab_size, options.width)
        is_learned = parts.positions == "learned"
        self.positions = nn.Embedding(options.context, options.width) if is_learned else None
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.layers))
        self.final_norm = nn.Identity() if parts.norm_after else _norm(options)
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
        causal: bool = True,
    ) -> dict[str, Tensor]:
        """Run the model and return what `outputs` names.

        inputs: [B, T] token ids. targets: [B, T], IGNORE where none. segments: [B, T] document numbers: attention
        stays inside a document. positions [B, T] or [T] and mask [B, T, S] are for cached generation. causal: no
        attention to later positions; not so for objectives that fill gaps in.
        temperature divides the logits, as it does in sampling.
        `hidden` [B, T, W]; `logprobs` and `entropy` [B, T] float32 (need targets); `logits` [B, T, V] float32.
        """
        length = inputs_BT.size(1)
        if mask is None and cache is None:
            mask = (causal_mask if causal else full_mask)(length, segments, inputs_BT.device)
        if positions is None:
            positions = torch.arange(length, device=inputs_BT.device)
        x_BTW, rotary = self._embedded(inputs_BT, positions)
        kernel = self.kernel if causal else "plain"
        for layer, block in enumerate(self.blocks):
            x_BTW = block(x_BTW, rotary, mask, kernel, cache, layer)
        return self._outputs(self.final_norm(x_BTW), targets, outputs, temperature)

    def _embedded(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """The first hidden states, and the rotary factors where positions are not in these."""
        x_BTW = F.embedding(inputs_BT, self.embedding.weight)
        if self.positions is None:
            return x_BTW.to(self.compute_dtype), self.rotary(positions)
        return (x_BTW + F.embedding(positions, self.positions.weight)).to(self.compute_dtype), None

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
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.endswith(("attention.output.weight", "feed_forward.down.weight")):
                parameter.zero_()
            else:
                is_table = name.startswith(("embedding", "positions", "head"))
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
        matrices = 3 if o.parts.feed_forward == "swiglu" else 2
        projections = (
            o.width * o.head_dim * (2 * o.heads + 2 * o.kv_heads) + matrices * o.width * o.feed_forward
        )
        attention = o.heads * o.head_dim * length
        return 2.0 * (o.layers * (projections + attention) + learnt * o.width * o.vocab_size)
