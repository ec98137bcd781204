"""The decoder's forward pass, prepared for decoding: the same function as `Decoder.forward`, in fewer operations.

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

from chatwright.generation.cache import Cache
from chatwright.generation.native import NativeStep, NoKernelError
from chatwright.models.attention import attend
from chatwright.models.decoder import Block, Decoder
from chatwright.models.layers import RMSNorm, SwiGLU
from chatwright.models.positions import rotary_table
from chatwright.progress import say


@dataclass(frozen=True)
class _Layer:
    """A block's matrices, [in, out]: a row times such a matrix reads it in order."""

    qkv: Tensor  # [W, (H + 2K)·D]
    output: Tensor  # [H·D, W]
    gate_up: Tensor  # [W, 2F]
    down: Tensor  # [F, W]


class Inference:
    """A decoder's weights as they stand now, laid out for decoding, in the decoder's compute type.

    Training on changes nothing here: prepare again. `compiled`: steps run as one native function where they can
    (float32 on a CPU, a C++ compiler), else a line says why not. It takes a second copy of the weights.
    """

    def __init__(self, model: Decoder, compiled: bool = False) -> None:
        self.options = model.options
        self.dtype = model.compute_dtype
        o = self.options
        blocks: list[Block] = list(model.blocks)  # type: ignore[arg-type]
        with torch.no_grad():
            self._layers = [self._laid_out(block) for block in blocks]
            self._embedding = model.embedding.weight.detach().to(self.dtype)
            self._head = self._behind_norm(model.head_weight, _weight(model.final_norm))
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
        self._cos, self._sin = rotary_table(positions, o.head_dim, o.rope_theta)
        self._floors = {
            width: torch.tensor(math.sqrt(width * o.norm_eps), device=self.device)
            for width in (o.width, o.head_dim)
        }
        self._native = self._compiled() if compiled else None

    @property
    def device(self) -> torch.device:
        return self._embedding.device

    def cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for this model."""
        o = self.options
        return Cache(o.layers, rows, o.kv_heads, o.head_dim, capacity, self.dtype, self.device)

    def prefill(self, ids_BT: Tensor, positions: Tensor, cache: Cache, mask: Tensor) -> Tensor:
        """Run several new tokens a row; returns the logits after the last of them, [B, V] float32.

        positions: [T], or [B, T] where rows differ. mask: true where a key may be seen, [T, S] or [B, T, S].
        """
        o = self.options
        batch, length = ids_BT.shape
        cos, sin = self._cos[positions].unsqueeze(-2), self._sin[positions].unsqueeze(-2)
        x_NW = F.embedding(ids_BT.reshape(-1), self._embedding)
        for index, layer in enumerate(self._layers):
            heads = (self._normed(x_NW) @ layer.qkv).view(batch, length, -1, o.head_dim)
            turn = (
                (self._straight_LJD[index] * cos).to(self.dtype),
                (self._crossed_LJD[index] * sin).to(self.dtype),
            )
            qk_BJTD = self._turned(heads.narrow(2, 0, o.heads + o.kv_heads), *turn).transpose(1, 2)
            v_BKTD = heads.narrow(2, o.heads + o.kv_heads, o.kv_heads).transpose(1, 2)
            k_BKSD, v_BKSD = cache.append(index, qk_BJTD.narrow(1, o.heads, o.kv_heads), v_BKTD)
            out_BHTD = attend(qk_BJTD.narrow(1, 0, o.heads), k_BKSD, v_BKSD, mask)
            x_NW = torch.addmm(x_NW, out_BHTD.transpose(1, 2).reshape(batch * length, -1), layer.output)
            x_NW = self._fed_forward(x_NW, layer)
        return self._logits(x_NW.view(batch, length, -1)[:, -1])

    def step(self, ids_B: Tensor, positions: Tensor, cache: Cache, seen_BS: Tensor | None = None) -> Tensor:
        """Run one new token a row; returns the logits after it, [B, V] float32.

        positions: [1], or [B] where rows differ. seen: true where a key may be seen; None where all may.
        """
        if self._native is not None:
            return self._native(ids_B, positions, cache, seen_BS)
        o = self.options
        batch = ids_B.size(0)
        scores_shape = (batch, o.kv_heads, o.heads // o.kv_heads, o.head_dim)
        turns = self._turns(positions)
        hidden = None if seen_BS is None else ~seen_BS[:, None, None]
        x_BW = F.embedding(ids_B, self._embedding)
        for index, (layer, straight, crossed) in enumerate(zip(self._layers, *turns, strict=True)):
            heads = torch.mm(self._normed(x_BW), layer.qkv).view(batch, -1, 1, o.head_dim)
            qk_BJ1D = self._turned(heads.narrow(1, 0, o.heads + o.kv_heads), straight, crossed)
            v_BK1D = heads.narrow(1, o.heads + o.kv_heads, o.kv_heads)
            k_BKSD, v_BKSD = cache.append(index, qk_BJ1D.narrow(1, o.heads, o.kv_heads), v_BK1D)
            scores = qk_BJ1D.narrow(1, 0, o.heads).view(scores_shape) @ k_BKSD.mT
            if hidden is not None:
                scores = scores.masked_fill(hidden, float("-inf"))
            out_BKGD: Tensor = scores.softmax(dim=-1) @ v_BKSD
            x_BW = self._fed_forward(torch.addmm(x_BW, out_BKGD.view(batch, -1), layer.output), layer)
        return self._logits(x_BW)

    @property
    def is_compiled(self) -> bool:
        """Whether steps run as one native function."""
        return self._native is not None

    def _compiled(self) -> NativeStep | None:
        matrices = [(layer.qkv, layer.output, layer.gate_up, layer.down) for layer in self._layers]
        turns = (self._scaled_straight_LJD, self._scaled_crossed_LJD)
        try:
            return NativeStep(
                self.options, matrices, self._embedding, self._head, turns, (self._cos, self._sin)
            )
        except NoKernelError as reason:
            say(f"  decoding is not compiled: {reason}")
            return None

    def _laid_out(self, block: Block) -> _Layer:
        attention, feed_forward = block.attention, block.feed_forward
        qkv = torch.cat([part.weight for part in (attention.query, attention.key, attention.value)])
        assert isinstance(feed_forward, SwiGLU)
        gate_up = torch.cat([feed_forward.gate.weight, feed_forward.up.weight])
        return _Layer(
            self._behind_norm(qkv, _weight(block.attention_norm)),
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

    def _turned(self, x: Tensor, straight: Tensor, crossed: Tensor) -> Tensor:
        """Norm, the norm's weight and rotary positions of queries and keys together. x: [..., D]."""
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
        gate, up = torch.mm(self._normed(x_NW), layer.gate_up).chunk(2, dim=-1)
        return torch.addmm(x_NW, F.silu(gate).mul_(up), layer.down)

    def _logits(self, x_BW: Tensor) -> Tensor:
        return torch.mm(self._normed(x_BW), self._head).float()


def _head_norms(block: Block, heads: int, kv_heads: int) -> Tensor:
    """The weights of the query and key norms times √D, one line a head: [J, D]."""
    query, key = block.attention.query_norm, block.attention.key_norm
    assert query is not None and key is not None
    norms = query.weight.expand(heads, -1), key.weight.expand(kv_heads, -1)
    return torch.cat(norms).float() * math.sqrt(norms[0].size(-1))


def _weight(norm: nn.Module) -> Tensor:
    assert isinstance(norm, RMSNorm)
    return norm.weight
