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

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.models.attention import Attention, KeyValueCache, band_mask, causal_mask, full_mask
from chatwright.models.experts import Experts, Routing
from chatwright.models.heads.language import token_outputs
from chatwright.models.layers import MLP, LayerNorm, Linear, RMSNorm, SwiGLU, table
from chatwright.models.positions import RotaryScaling, places_in_segments, rotary_table
from chatwright.models.root import Root


@dataclass(frozen=True)
class Parts:
    """What an architecture is made of; its sizes are options, its parts are not.

    norm_after: normalized after the addition to the residual stream (Vaswani et al. 2017), not before the part. bias:
    nowhere, at queries, keys and values, or at every linear map. Experts take the place of SwiGLU where the options have
    a `routing`.
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
    kv_heads: int = option(2, "key-value heads; divides heads; 0: as many as heads")
    head_dim: int = option(64, "width of a head; 0: width / heads")
    feed_forward: int = option(768, "inner width of the feed-forward part; 0: four times the width")
    context: int = option(1024, "longest sequence, in tokens")
    rope_theta: float = option(10_000.0, "base of the rotary angles")
    norm_eps: float = option(1e-6, "added to the mean square in normalization")
    tied: bool = option(True, "whether the head shares the embedding's weights")

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "width", "layers", "heads", "context", group="model.")
        if self.head_dim == 0 and self.width % self.heads:
            raise UserError(
                f"model.width={self.width} is no multiple of model.heads={self.heads}; change one of them"
            )
        following = {
            "kv_heads": self.heads,
            "head_dim": self.width // self.heads,
            "feed_forward": 4 * self.width,
        }
        for name, value in following.items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        at_least(self, 1, "kv_heads", "head_dim", "feed_forward", group="model.")
        if self.heads % self.kv_heads:
            raise UserError(f"model.kv_heads={self.kv_heads} does not divide model.heads={self.heads}")
        if self.head_dim % 2 and self.parts.positions == "rotary":
            raise UserError(f"model.head_dim={self.head_dim} must be even for rotary positions")

    @property
    def routing(self) -> Routing | None:
        """Of tokens to experts, where the architecture has them."""
        return None

    @property
    def scaling(self) -> RotaryScaling | None:
        """Of the rotary angles, where the architecture has one."""
        return None

    def band_of(self, layer: int) -> int | None:
        """How many of the nearest positions a layer sees; None for all."""
        return None


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
        self.feed_forward: nn.Module
        if o.routing is not None:
            self.feed_forward = Experts(o.width, o.feed_forward, o.routing)
        elif parts.feed_forward == "swiglu":
            self.feed_forward = SwiGLU(o.width, o.feed_forward)
        else:
            self.feed_forward = MLP(o.width, o.feed_forward, parts.feed_forward)

    def forward(
        self,
        x_BTW: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        kernel: str,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        real: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The next hidden states, and with experts each row's balance [B] over its real positions, real: [B, T]."""
        if self.norm_after:
            x_BTW = self.attention_norm(x_BTW + self.attention(x_BTW, rotary, mask, kernel, cache, layer))
            fed_BTW, balance_B = self._fed(x_BTW, real)
            return self.feed_forward_norm(x_BTW + fed_BTW), balance_B
        x_BTW = x_BTW + self.attention(self.attention_norm(x_BTW), rotary, mask, kernel, cache, layer)
        fed_BTW, balance_B = self._fed(self.feed_forward_norm(x_BTW), real)
        return x_BTW + fed_BTW, balance_B

    def _fed(self, x_BTW: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.feed_forward, Experts):
            return self.feed_forward(x_BTW, real)  # type: ignore[no-any-return]
        return self.feed_forward(x_BTW), None


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
        self.embedding = table(options.vocab_size, options.width)
        is_learned = parts.positions == "learned"
        self.positions = table(options.context, options.width) if is_learned else None
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
        stays inside a document, and learned positions begin anew. positions [B, T] or [T] and mask [B, T, S] are for
        cached generation. causal: no attention to later positions; not so for objectives that fill gaps in.
        temperature divides the logits, as it does in sampling.
        `hidden` [B, T, W]; `logprobs` and `entropy` [B, T] float32 (need targets); `logits` [B, T, V] float32; of a model
        with experts `balance` [B] float32, each row's own: `experts.balance` without the padding, summed over layers.
        """
        length = inputs_BT.size(1)
        if mask is None and cache is None:
            mask = (causal_mask if causal else full_mask)(length, segments, inputs_BT.device)
        if self.positions is not None and cache is None:
            self._check_places(length, positions)
        if positions is None:
            positions = torch.arange(length, device=inputs_BT.device)
            if self.positions is not None and segments is not None:
                positions = places_in_segments(segments)
        masks = self._masks(mask, positions, length, cache)
        x_BTW, rotary = self._embedded(inputs_BT, positions)
        kernel = self.kernel if causal else "plain"
        real = None if segments is None or self.options.routing is None else segments >= 0
        balances = []
        for layer, (block, seen) in enumerate(zip(self.blocks, masks, strict=True)):
            x_BTW, balance_B = block(x_BTW, rotary, seen, kernel, cache, layer, real)
            balances.append(balance_B)
        hidden = self.final_norm(x_BTW)
        result = token_outputs(hidden, self.head_weight, targets, outputs, temperature)
        result |= {"hidden": hidden} if "hidden" in outputs else {}
        return result | ({"balance": torch.stack(balances).sum(dim=0)} if "balance" in outputs else {})

    def _masks(
        self, mask: Tensor | None, positions: Tensor, length: int, cache: KeyValueCache | None
    ) -> list[Tensor | None]:
        """What each layer sees: all of the mask, or a band of it."""
        bands = [self.options.band_of(layer) for layer in range(self.options.layers)]
        if cache is None:
            queries = keys = positions
        else:
            keys = torch.arange(cache.length + length, device=positions.device)
            queries = keys[cache.length :]
        narrow = {band: band_mask(mask, queries, keys, band) for band in set(bands) if band is not None}
        return [mask if band is None else narrow[band] for band in bands]

    def _check_places(self, length: int, positions: Tensor | None) -> None:
        """Refuse positions that were never learnt; generation keeps to those there are."""
        last = length if positions is None else int(positions.max()) + 1
        if last > self.options.context:
            raise UserError(
                f"a token stands at position {last:,} and this model has learnt {self.options.context:,}; "
                "shorten the rows, take no objective.stretch, or raise model.context of a new model"
            )

    def _embedded(self, inputs_BT: Tensor, positions: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """The first hidden states, and the rotary factors where positions are not in these."""
        x_BTW = F.embedding(inputs_BT, self.embedding.weight)
        if self.positions is None:
            return x_BTW.to(self.compute_dtype), self.rotary(positions)
        return (x_BTW + F.embedding(positions, self.positions.weight)).to(self.compute_dtype), None

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for positions [T] or [B, T], ready to broadcast over heads, in the compute type."""
        o = self.options
        tables = rotary_table(positions, o.head_dim, o.rope_theta, o.scaling)
        cos, sin = (
            t.to(self.compute_dtype) if t.dim() == 2 else t[:, None].to(self.compute_dtype) for t in tables
        )
        return cos, sin

    @property
    def head_weight(self) -> Tensor:
        return self.embedding.weight if self.head is None else self.head.weight

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
                deviation = 0.02 if is_table else parameter.size(-1) ** -0.5
                parameter.normal_(0.0, deviation, generator=generator)

    def compilable(self) -> list[nn.Module]:
        """The repeated parts: compiling one compiles them all, so that compilation time does not grow with depth."""
        return list(self.blocks)

    def shard_plan(self) -> dict[str, str]:
        """How tensor parallelism splits the weights: by output features (`column`) or by input features (`row`)."""
        plan = {
            "blocks.*.attention.query": "column",
            "blocks.*.attention.key": "column",
            "blocks.*.attention.value": "column",
            "blocks.*.attention.output": "row",
            "blocks.*.feed_forward.gate": "column",
            "blocks.*.feed_forward.up": "column",
            "blocks.*.feed_forward.down": "row",
            "embedding": "row",
        }
        if self.options.parts.feed_forward != "swiglu":
            del plan["blocks.*.feed_forward.gate"]
        return plan

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Multiply-adds of the forward pass times two, per position, in rows of `length`; `learnt` is the share of
        positions that go through the head. Of experts, those that a token goes through; of a band, what it leaves."""
        o = self.options
        matrices = 3 if o.parts.feed_forward == "swiglu" else 2
        experts, router = (o.routing.per_token, o.routing.experts) if o.routing else (1, 0)
        projections = o.width * o.head_dim * (2 * o.heads + 2 * o.kv_heads)
        fed = o.width * (matrices * o.feed_forward * experts + router)
        # of the two products with the keys, causal attention needs half
        bands = [min(length, o.band_of(layer) or length) for layer in range(o.layers)]
        attention = o.heads * o.head_dim * sum(band * (2 - band / length) for band in bands)
        return 2.0 * (o.layers * (projections + fed) + attention + learnt * o.width * o.vocab_size)
