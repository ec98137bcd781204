"""The encoder-decoder Transformer (Vaswani et al. 2017, Attention Is All You Need), which turns a text into another.

The encoder reads the source both ways. Every block of the decoder attends to the target so far and, across, to what the
encoder made of the source. Each part is added to the residual stream and normalized after that.

Shape suffixes: B batch, S source length, T target length, W width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import at_least, option
from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.attention import Attention, KeyValueCache, attend, causal_mask, full_mask
from chatwright.models.heads.language import token_outputs
from chatwright.models.layers import MLP, LayerNorm, Linear, table
from chatwright.models.root import Root

NORM_EPS = 1e-5
# The keys and the values of a source in one block of the decoder, [B, H, S, D] each.
Crossed = tuple[Tensor, Tensor]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu}


@dataclass(frozen=True)
class EncoderDecoderOptions:
    """The shape of an encoder-decoder Transformer."""

    architecture: ClassVar[str] = "transformer"

    vocab_size: int = option(8192, "tokens in the vocabulary, which source and target share")
    width: int = option(256, "width of the residual stream; even")
    encoder_layers: int = option(3, "blocks that read the source")
    decoder_layers: int = option(3, "blocks that write the target")
    heads: int = option(4, "attention heads; divides width")
    feed_forward: int = option(1024, "inner width of the feed-forward part")
    context: int = option(512, "longest source and longest target, in tokens")
    activation: Literal["relu", "gelu", "swish"] = option("relu", "of the feed-forward part")
    start: int = option(0, "token that every target begins after; a translation model's: the padding token")

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "width", "encoder_layers", "decoder_layers", group="model.")
        at_least(self, 1, "heads", "feed_forward", "context", group="model.")
        if self.width % 2 or self.width % self.heads:
            raise UserError(
                f"model.width={self.width} must be even and a multiple of model.heads={self.heads}"
            )
        if not 0 <= self.start < self.vocab_size:
            raise UserError(f"model.start={self.start} is no token of {self.vocab_size}")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def kv_heads(self) -> int:
        return self.heads


class FeedForward(MLP):
    """Feed-forward `down(act(up(x)))` with Marian's choice of activations. x: [..., width]."""

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__(options.width, options.feed_forward, "relu")
        self.activation = _ACTIVATIONS[options.activation]


class CrossAttention(nn.Module):
    """Attention from the target to the source (Vaswani et al. 2017, section 3.2.3)."""

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        width = options.width
        self.heads, self.head_dim = options.heads, options.head_dim
        self.query = Linear(width, width, bias=True)
        self.key = Linear(width, width, bias=True)
        self.value = Linear(width, width, bias=True)
        self.output = Linear(width, width, bias=True)

    def crossed(self, memory_BSW: Tensor) -> Crossed:
        """Keys and values of a source, which stay the same while a target is written."""
        k_BHSD, v_BHSD = (
            self._divided(part(memory_BSW), memory_BSW.size(0)) for part in (self.key, self.value)
        )
        return k_BHSD, v_BHSD

    def forward(self, x: Tensor, crossed: Crossed, seen: Tensor | None) -> Tensor:
        """x: [B, T, W], or [B·N, T, W] where N targets in a row share a source. seen: [B, N·T, S], true where a source
        token may be seen. Returns the shape of x."""
        keys, values = crossed
        out = attend(self._divided(self.query(x), keys.size(0)), keys, values, seen)
        return self.output(out.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _divided(self, x: Tensor, rows: int) -> Tensor:
        return x.reshape(rows, -1, self.heads, self.head_dim).transpose(1, 2)


def _self_attention(o: EncoderDecoderOptions) -> Attention:
    return Attention(
        o.width, o.heads, o.heads, o.head_dim, NORM_EPS, normed=False, bias=True, output_bias=True
    )


class EncoderBlock(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.attention = _self_attention(options)
        self.attention_norm = LayerNorm(options.width, NORM_EPS)
        self.feed_forward = FeedForward(options)
        self.feed_forward_norm = LayerNorm(options.width, NORM_EPS)

    def forward(self, x_BSW: Tensor, mask: Tensor | None) -> Tensor:
        x_BSW = self.attention_norm(x_BSW + self.attention(x_BSW, None, mask, "plain"))
        return self.feed_forward_norm(x_BSW + self.feed_forward(x_BSW))  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the source, then feed-forward."""

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.attention = _self_attention(options)
        self.attention_norm = LayerNorm(options.width, NORM_EPS)
        self.cross = CrossAttention(options)
        self.cross_norm = LayerNorm(options.width, NORM_EPS)
        self.feed_forward = FeedForward(options)
        self.feed_forward_norm = LayerNorm(options.width, NORM_EPS)

    def forward(
        self,
        x_BTW: Tensor,
        crossed: Crossed,
        mask: Tensor | None,
        seen: Tensor | None,
        kernel: str,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        x_BTW = self.attention_norm(x_BTW + self.attention(x_BTW, None, mask, kernel, cache, layer))
        x_BTW = self.cross_norm(x_BTW + self.cross(x_BTW, crossed, seen))
        return self.feed_forward_norm(x_BTW + self.feed_forward(x_BTW))  # type: ignore[no-any-return]


class OutputBias(nn.Module):
    """What is added to the logits, [1, V]; the head's matrix is the embedding's."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, vocab_size))


class EncoderDecoder(Root):
    """A model of targets given sources; call it as a root: `model(inputs, decoder_inputs=…, targets=…, outputs=(…))`."""

    Options = EncoderDecoderOptions
    options: EncoderDecoderOptions

    def __init__(self, options: EncoderDecoderOptions) -> None:
        super().__init__()
        self.options = options
        self.compute_dtype = torch.float32
        self.kernel = "plain"
        self.embedding = table(options.vocab_size, options.width)
        self.encoder = nn.ModuleList(EncoderBlock(options) for _ in range(options.encoder_layers))
        self.decoder = nn.ModuleList(DecoderBlock(options) for _ in range(options.decoder_layers))
        self.head = OutputBias(options.vocab_size)

    def forward(
        self,
        inputs_BS: Tensor,
        *,
        decoder_inputs: Tensor | None = None,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        decoder_segments: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
        temperature: float = 1.0,
    ) -> dict[str, Tensor]:
        """Run the model and return what `outputs` names.

        inputs: [B, S] token ids of the source. decoder_inputs: [B, T], by default the targets moved on by one place
        behind the start token. targets: [B, T], IGNORE where none. segments [B, S] and decoder_segments [B, T]: the
        numbers of the pairs that share a row, from 0, negative where padded; a target sees its own pair's source only.
        Without decoder_segments there is one pair a row. temperature divides the logits.
        `hidden` [B, T, W]; `logits` [B, T, V] float32; and with targets, [B, T] float32 each: `logprobs`, `entropy`, and
        `mean_logprobs`, the mean of the log-probabilities of all tokens of the vocabulary.
        """
        if decoder_inputs is None:
            assert targets is not None, "a decoder needs inputs, or targets to make them of"
            decoder_inputs = self._moved_on(targets)
        length = decoder_inputs.size(1)
        crossed = self.crossed(self.encode(inputs_BS, segments))
        mask = causal_mask(length, decoder_segments, inputs_BS.device)
        seen = cross_mask(segments, decoder_segments, length)
        positions = positions_of(decoder_segments, length, inputs_BS.device)
        hidden = self.decode(decoder_inputs, crossed, positions, mask, seen)
        return self._outputs(hidden, targets, outputs, temperature)

    def encode(self, inputs_BS: Tensor, segments: Tensor | None = None) -> Tensor:
        """What the encoder makes of sources, [B, S, W]."""
        length = inputs_BS.size(1)
        mask = full_mask(length, segments, inputs_BS.device)
        x_BSW = self._embedded(inputs_BS, positions_of(segments, length, inputs_BS.device))
        for block in self.encoder:
            x_BSW = block(x_BSW, mask)
        return x_BSW

    def crossed(self, memory_BSW: Tensor) -> list[Crossed]:
        """The keys and values of sources in every block of the decoder."""
        return [block.cross.crossed(memory_BSW) for block in self.decoder]  # type: ignore[union-attr, operator]

    def decode(
        self,
        inputs_BT: Tensor,
        crossed: Sequence[Crossed],
        positions: Tensor,
        mask: Tensor | None,
        seen: Tensor | None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Hidden states after target tokens, [B, T, W].

        positions: [T] or [B, T]. mask: the causal one, None where all of the cache may be seen. seen: see
        `CrossAttention.forward`.
        """
        x_BTW = self._embedded(inputs_BT, positions)
        for layer, (block, source) in enumerate(zip(self.decoder, crossed, strict=True)):
            x_BTW = block(x_BTW, source, mask, seen, self.kernel, cache, layer)
        return x_BTW

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., W] to [..., V] float32."""
        weight, bias = self.embedding.weight.to(hidden.dtype), self.head.bias[0].to(hidden.dtype)
        return F.linear(hidden, weight, bias).float()

    def _embedded(self, inputs: Tensor, positions: Tensor) -> Tensor:
        context = self.options.context
        if inputs.size(1) > context and (longest := int(positions.max()) + 1) > context:
            raise UserError(
                f"a text of {longest:,} tokens is longer than this model's {context:,}; shorten it, or raise "
                "model.context of a new model"
            )
        table = sinusoids(context, self.options.width, inputs.device)
        x = F.embedding(inputs, self.embedding.weight) * self.options.width**0.5
        placed: Tensor = (x + F.embedding(positions, table)).to(self.compute_dtype)
        return placed

    def _moved_on(self, targets_BT: Tensor) -> Tensor:
        before = torch.full_like(targets_BT, self.options.start)
        before[:, 1:] = targets_BT[:, :-1].masked_fill(targets_BT[:, :-1] == IGNORE, self.options.start)
        return before

    def _outputs(
        self, hidden: Tensor, targets: Tensor | None, outputs: tuple[str, ...], temperature: float
    ) -> dict[str, Tensor]:
        weight, bias = self.embedding.weight, self.head.bias[0]
        is_mean = "mean_logprobs" in outputs
        wanted = {*outputs, "logprobs"} if is_mean else outputs
        result = token_outputs(hidden, weight, targets, wanted, temperature, bias)
        if is_mean:
            assert targets is not None, "log-probabilities need targets"
            rows, bias = hidden / temperature, bias / temperature
            result["mean_logprobs"] = mean_logprobs(rows, weight, bias, targets, result["logprobs"])
        result |= {"hidden": hidden} if "hidden" in outputs else {}
        return {name: value for name, value in result.items() if name in outputs}

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights: matrices keep the size of what they multiply, and those into the residual stream begin at
        zero; embeddings have deviation 0.02. As 1 / √width, which the factor √width invites, they make a new model
        write what it has just read, and ten steps more are needed to unlearn that."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.startswith("head") or name.endswith(("output.weight", "feed_forward.down.weight")):
                parameter.zero_()
            else:
                deviation = 0.02 if name.startswith("embedding") else parameter.size(1) ** -0.5
                parameter.normal_(0.0, deviation, generator=generator)

    def compilable(self) -> list[nn.Module]:
        """The blocks: compiling one of each kind compiles them all."""
        return [*self.encoder, *self.decoder]

    def shard_plan(self) -> dict[str, str]:
        """How tensor parallelism splits the weights: by output features (`column`) or by input features (`row`)."""
        plan = {"embedding": "row"}
        for block, parts in (("encoder", ("attention",)), ("decoder", ("attention", "cross"))):
            for part in parts:
                plan |= {f"{block}.*.{part}.{name}": "column" for name in ("query", "key", "value")}
                plan[f"{block}.*.{part}.output"] = "row"
            plan |= {f"{block}.*.feed_forward.up": "column", f"{block}.*.feed_forward.down": "row"}
        return plan

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Multiply-adds of the forward pass times two, per position of source or target, in rows where each side has
        `length`; `learnt` is the share of positions that go through the head."""
        o = self.options
        part = 4 * o.width**2 + o.width * length
        feed_forward = 2 * o.width * o.feed_forward
        blocks = o.encoder_layers * (part + feed_forward) + o.decoder_layers * (2 * part + feed_forward)
        return 2.0 * (blocks / 2 + learnt * o.width * o.vocab_size)


@lru_cache(maxsize=8)
def sinusoids(context: int, width: int, device: torch.device) -> Tensor:
    """Positions as waves of `width` / 2 lengths (Vaswani et al. 2017, section 3.5): [context, width] float32.

    All sines come first, then all cosines, as in Marian; the paper has them in turns, which only orders the features.
    """
    # kept for training too, whoever asks first
    with torch.inference_mode(False):
        rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
        angles = torch.arange(context, dtype=torch.float64, device=device)[:, None] * rates
        return torch.cat((angles.sin(), angles.cos()), dim=1).float()


def positions_of(segments_BT: Tensor | None, length: int, device: torch.device) -> Tensor:
    """Where each token stands in its own text: [T], or [B, T] with segments."""
    places = torch.arange(length, device=device)
    if segments_BT is None:
        return places
    begins = torch.ones_like(segments_BT, dtype=torch.bool)
    begins[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    first = (places * begins).cummax(dim=1).values
    return (places - first).masked_fill(segments_BT < 0, 0)


def cross_mask(segments_BS: Tensor | None, decoder_segments_BT: Tensor | None, length: int) -> Tensor | None:
    """True where a target position may see a source position, [B, T, S]; None where all may."""
    if segments_BS is None:
        return None
    if decoder_segments_BT is None:
        return (segments_BS >= 0)[:, None, :].expand(-1, length, -1)
    # padding sees everything, because a row of the mask that is all false would give NaN
    is_padding = decoder_segments_BT < 0
    return (decoder_segments_BT[:, :, None] == segments_BS[:, None, :]) | is_padding[:, :, None]


def mean_logprobs(
    hidden: Tensor, weight_VW: Tensor, bias_V: Tensor, targets: Tensor, logprobs: Tensor
) -> Tensor:
    """The mean log-probability of the vocabulary, zero where the target is IGNORE; float32 [...].

    With z the logits and y the target, mean log p = log p_y + mean z - z_y, and a mean of logits is the product with
    the mean of the matrix's rows: no table of logits is needed.
    """
    is_real = targets != IGNORE
    chosen = targets.masked_fill(~is_real, 0)
    weights = weight_VW.mean(dim=0) - F.embedding(chosen, weight_VW)
    difference = (weights * hidden.float()).sum(dim=-1) + bias_V.mean() - bias_V[chosen]
    return (logprobs + difference) * is_real
