"""The forward pass of Llama's and Qwen's decoders, prepared for decoding: the same function in fewer operations.

A small model's token costs more in the overhead of operations than in arithmetic. So the weights are laid out once:
query, key and value as one matrix, gate and up as one, each with the weight of the norm before it folded in; and the
rotary factors already hold the weights of the query and key norms. Tests hold it to `Decoder.forward`.

Shape suffixes: B batch, T new positions, S seen positions, N = B·T, W width, H query heads, K key-value heads,
J = H + K, G = H / K, D head width, L layers, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.generation.cache import Cache, Joined, seen_from, seen_last
from chatwright.generation.quantized import Rows
from chatwright.generation.ways import Way
from chatwright.models.attention import attend
from chatwright.models.decoder import Block, Decoder, DecoderOptions
from chatwright.models.layers import RMSNorm, SwiGLU
from chatwright.models.positions import rotary_table


@dataclass(frozen=True)
class _Layer:
    """A block's matrices, [in, out]: a row times such a matrix reads it in order."""

    qkv: Tensor | Rows  # [W, (H + 2K)·D]
    bias: Tensor | None  # [(H + 2K)·D]
    output: Tensor | Rows  # [H·D, W]
    gate_up: Tensor | Rows  # [W, 2F]
    down: Tensor | Rows  # [F, W]

    def rounded(self) -> _Layer:
        """The same with integers."""
        four = (self.qkv, self.output, self.gate_up, self.down)
        qkv, output, gate_up, down = (Rows.of(one) if isinstance(one, Tensor) else one for one in four)
        return _Layer(qkv, self.bias, output, gate_up, down)


def _times(x_NI: Tensor, matrix: Tensor | Rows, added: Tensor | None = None) -> Tensor:
    """x × matrix, [N, out], plus what is added."""
    if isinstance(matrix, Rows):
        product = matrix.times(x_NI)
        return product if added is None else product.add_(added)
    return torch.mm(x_NI, matrix) if added is None else torch.addmm(added, x_NI, matrix)


class Prepared(Way):
    """A decoder's weights as they stand now, laid out for decoding.

    are_integers: single tokens go through weights of eight bits; the type must be bfloat16 then.
    """

    def __init__(self, model: Decoder, dtype: torch.dtype, are_integers: bool = False) -> None:
        self.options = model.options
        self.dtype = dtype
        o = self.options
        blocks: list[Block] = list(model.blocks)  # type: ignore[arg-type]
        with torch.no_grad():
            self._layers = [self._laid_out(block) for block in blocks]
            self._embedding = model.embedding.weight.detach().to(self.dtype)
            self._head = self._behind_norm(model.head_weight, _weight(model.final_norm))
            self._step_layers = [one.rounded() for one in self._layers] if are_integers else self._layers
            self._step_head = Rows.of(self._head) if are_integers else self._head
            self._normed_heads = o.parts.normed_heads
            self._straight_LJD = torch.stack([_head_norms(block, o.heads, o.kv_heads) for block in blocks])
            first, second = self._straight_LJD.chunk(2, dim=-1)
            self._crossed_LJD = torch.cat((second, first), dim=-1)
        scales = [o.head_dim**-0.5] * o.heads + [1.0] * o.kv_heads
        scale_J1 = torch.tensor(scales, device=self.device)[:, None]
        self._scaled_straight_LJD, self._scaled_crossed_LJD = (
            self._straight_LJD * scale_J1,
            self._crossed_LJD * scale_J1,
        )
        positions = torch.arange(o.context, device=self.device)
        self._cos, self._sin = rotary_table(positions, o.head_dim, o.rope_theta, o.scaling)
        self._floors = {
            width: torch.tensor(math.sqrt(width * o.norm_eps), device=self.device)
            for width in (o.width, o.head_dim)
        }

    @staticmethod
    def takes(options: DecoderOptions) -> bool:
        """Whether the parts are those that this lays out."""
        parts = options.parts
        return (
            (parts.norm, parts.positions, parts.feed_forward) == ("rms", "rotary", "swiglu")
            and not parts.norm_after
            and parts.bias != "all"
            and options.routing is None
            and all(options.band_of(layer) is None for layer in range(options.layers))
        )

    @property
    def device(self) -> torch.device:
        return self._embedding.device

    def prefill(
        self, ids_BT: Tensor, cache: Cache, starts_B: Tensor | None, is_wanted: bool = True
    ) -> Tensor:
        """As `Inference.prefill`."""
        positions, mask = seen_from(cache.length, ids_BT.size(1), starts_B, self.device)
        o = self.options
        batch, length = ids_BT.shape
        cos, sin = self._cos[positions].unsqueeze(-2), self._sin[positions].unsqueeze(-2)
        x_NW = F.embedding(ids_BT.reshape(-1), self._embedding)
        for index, layer in enumerate(self._layers):
            heads = self._heads(x_NW, layer).view(batch, length, -1, o.head_dim)
            turn = (
                (self._straight_LJD[index] * cos).to(self.dtype),
                (self._crossed_LJD[index] * sin).to(self.dtype),
            )
            qk_BJTD = self._turned(heads.narrow(2, 0, o.heads + o.kv_heads), *turn).transpose(1, 2)
            v_BKTD = heads.narrow(2, o.heads + o.kv_heads, o.kv_heads).transpose(1, 2)
            k_BKSD, v_BKSD = cache.append(index, qk_BJTD.narrow(1, o.heads, o.kv_heads), v_BKTD)
            out_BHTD = attend(qk_BJTD.narrow(1, 0, o.heads), k_BKSD, v_BKSD, mask)
            x_NW = _times(out_BHTD.transpose(1, 2).reshape(batch * length, -1), layer.output, x_NW)
            x_NW = self._fed_forward(x_NW, layer)
        return self._logits(x_NW.view(batch, length, -1)[:, -1], self._head)

    def step(self, ids_B: Tensor, cache: Cache | Joined, starts_B: Tensor | None) -> Tensor:
        """As `Inference.step`."""
        positions, seen_BS = seen_last(cache.length, starts_B, self.options.context, self.device)
        o = self.options
        batch = ids_B.size(0)
        scores_shape = (batch, o.kv_heads, o.heads // o.kv_heads, o.head_dim)
        turns = self._turns(positions)
        hidden = None if seen_BS is None else ~seen_BS[:, None, None]
        x_BW = F.embedding(ids_B, self._embedding)
        for index, (layer, straight, crossed) in enumerate(zip(self._step_layers, *turns, strict=True)):
            heads = self._heads(x_BW, layer).view(batch, -1, 1, o.head_dim)
            qk_BJ1D = self._turned(heads.narrow(1, 0, o.heads + o.kv_heads), straight, crossed)
            v_BK1D = heads.narrow(1, o.heads + o.kv_heads, o.kv_heads)
            k_BKSD, v_BKSD = cache.append(index, qk_BJ1D.narrow(1, o.heads, o.kv_heads), v_BK1D)
            scores = qk_BJ1D.narrow(1, 0, o.heads).view(scores_shape) @ k_BKSD.mT
            if hidden is not None:
                scores = scores.masked_fill(hidden, float("-inf"))
            out_BKGD: Tensor = scores.softmax(dim=-1) @ v_BKSD
            x_BW = self._fed_forward(_times(out_BKGD.view(batch, -1), layer.output, x_BW), layer)
        return self._logits(x_BW, self._step_head)

    def _laid_out(self, block: Block) -> _Layer:
        attention, feed_forward = block.attention, block.feed_forward
        three = (attention.query, attention.key, attention.value)
        qkv = torch.cat([part.weight for part in three])
        biases: list[Tensor] = [part.bias for part in three if part.bias is not None]
        assert isinstance(feed_forward, SwiGLU)
        gate_up = torch.cat([feed_forward.gate.weight, feed_forward.up.weight])
        return _Layer(
            self._behind_norm(qkv, _weight(block.attention_norm)),
            torch.cat(biases).to(self.dtype) if biases else None,
            attention.output.weight.t().to(self.dtype).contiguous(),
            self._behind_norm(gate_up, _weight(block.feed_forward_norm)),
            feed_forward.down.weight.t().to(self.dtype).contiguous(),
        )

    def _behind_norm(self, weight_OW: Tensor, norm_W: Tensor) -> Tensor:
        """A matrix whose input comes out of `_normed` without the norm's weight: [W, O]."""
        return (weight_OW * (norm_W * math.sqrt(norm_W.size(0)))).t().to(self.dtype).contiguous()

    def _normed(self, x: Tensor) -> Tensor:
        """x / √(Σx² + width·eps), in three operations: RMSNorm but for the factor √width·weight."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / torch.hypot(length, self._floors[x.size(-1)])).to(x.dtype)

    def _heads(self, x_NW: Tensor, layer: _Layer) -> Tensor:
        """Queries, keys and values of all heads, [N, (H + 2K)·D]."""
        return _times(self._normed(x_NW), layer.qkv, layer.bias)

    def _turned(self, x: Tensor, straight: Tensor, crossed: Tensor) -> Tensor:
        """Norm, the norm's weight and rotary positions of queries and keys together. x: [..., D]."""
        if self._normed_heads:
            x = self._normed(x)
        return torch.addcmul(x * straight, x.roll(self.options.head_dim // 2, -1), crossed)

    def _turns(self, positions: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The factors of `_turned` for one token a row: for each layer [J, 1, D], or [B, J, 1, D] where rows differ.

        Those of the queries hold attention's 1/√D as well.
        """
        rows = positions.size(0)
        shape = (1, rows, 1, -1) if rows > 1 else (-1,)
        factors = []
        for norms_LJD, angles in (
            (self._scaled_straight_LJD, self._cos),
            (self._scaled_crossed_LJD, self._sin),
        ):
            wide = norms_LJD.unsqueeze(1) if rows > 1 else norms_LJD
            factors.append((wide * angles[positions].view(shape)).unsqueeze(-2).to(self.dtype).unbind())
        return factors[0], factors[1]

    def _fed_forward(self, x_NW: Tensor, layer: _Layer) -> Tensor:
        gate, up = _times(self._normed(x_NW), layer.gate_up).chunk(2, dim=-1)
        return _times(F.silu(gate).mul_(up), layer.down, x_NW)

    def _logits(self, x_BW: Tensor, head: Tensor | Rows) -> Tensor:
        return _times(self._normed(x_BW), head).float()


def _head_norms(block: Block, heads: int, kv_heads: int) -> Tensor:
    """The weights of the query and key norms times √D, one line a head: [J, D]; ones where there are no norms."""
    attention = block.attention
    if attention.query_norm is None or attention.key_norm is None:
        return attention.query.weight.new_ones(heads + kv_heads, attention.head_dim)
    norms = attention.query_norm.weight.expand(heads, -1), attention.key_norm.weight.expand(kv_heads, -1)
    return torch.cat(norms).float() * math.sqrt(attention.head_dim)


def _weight(norm: nn.Module) -> Tensor:
    assert isinstance(norm, RMSNorm)
    return norm.weight
