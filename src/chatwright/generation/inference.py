"""The decoder's forward pass, prepared for decoding: the same function as `Decoder.forward`, in fewer operations.

A small model's token costs more in the overhead of operations than in arithmetic. So the weights are laid out once:
query, key and value as one matrix, gate and up as one, each with the weight of the norm before it folded in; and the
rotary angles come from a table that already holds the weights of the query and key norms. A test holds it to
`Decoder.forward`.

Shape suffixes: B batch, T new positions, S seen positions, N = B·T, W width, H query heads, K key-value heads,
J = H + K, G = H / K, D head width, L layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.generation.cache import Cache
from chatwright.models.attention import attend
from chatwright.models.decoder import Block, Decoder
from chatwright.models.positions import rotary_table


@dataclass(frozen=True)
class _Layer:
    qkv: Tensor  # [(H + 2K)·D, W]
    output: Tensor  # [W, H·D]
    gate_up: Tensor  # [2F, W]
    down: Tensor  # [W, F]


class Inference:
    """A decoder's weights as they stand now, laid out for decoding, in the decoder's compute type.

    Training on changes nothing here: prepare again.
    """

    def __init__(self, model: Decoder) -> None:
        self.options = model.options
        self.dtype = model.compute_dtype
        o = self.options
        with torch.no_grad():
            self._layers = [self._laid_out(block) for block in model.blocks]  # type: ignore[arg-type]
            self._embedding = model.embedding.weight.detach().to(self.dtype)
            self._head = (model.head_weight.detach() * model.final_norm.weight).to(self.dtype)
            norms = [_head_norms(block, o.heads, o.kv_heads) for block in model.blocks]  # type: ignore[arg-type]
            self._straight_LJD = torch.stack(norms)
            first, second = self._straight_LJD.chunk(2, dim=-1)
            self._crossed_LJD = torch.cat((-second, first), dim=-1)
        positions = torch.arange(o.context, device=self.device)
        self._cos, self._sin = rotary_table(positions, o.head_dim, o.rope_theta)

    @property
    def device(self) -> torch.device:
        return self._embedding.device

    def _laid_out(self, block: Block) -> _Layer:
        attention, feed_forward = block.attention, block.feed_forward
        qkv = torch.cat([part.weight for part in (attention.query, attention.key, attention.value)])
        gate_up = torch.cat([feed_forward.gate.weight, feed_forward.up.weight])
        return _Layer(
            (qkv * block.attention_norm.weight).to(self.dtype),
            attention.output.weight.detach().to(self.dtype),
            (gate_up * block.feed_forward_norm.weight).to(self.dtype),
            feed_forward.down.weight.detach().to(self.dtype),
        )

    def cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for this model."""
        o = self.options
        return Cache(o.layers, rows, o.kv_heads, o.head_dim, capacity, self.dtype, self.device)

    def forward(self, ids_BT: Tensor, positions: Tensor, cache: Cache, mask: Tensor | None = None) -> Tensor:
        """Run new tokens through the model; returns the logits after the last of them, [B, V] float32.

        positions: [T], or [B, T] where rows differ. mask: True where a key may be seen, [T, S] or [B, T, S]; None
        where all may.
        """
        batch, length = ids_BT.shape
        x_NW = F.embedding(ids_BT.reshape(-1), self._embedding)
        for index, (layer, turn) in enumerate(zip(self._layers, self._turns(positions), strict=True)):
            y_NW = self._attend(layer, index, self._normed(x_NW).view(batch, length, -1), turn, cache, mask)
            x_NW = torch.addmm(x_NW, y_NW, layer.output.t())
            gate, up = F.linear(self._normed(x_NW), layer.gate_up).chunk(2, dim=-1)
            x_NW = torch.addmm(x_NW, F.silu(gate).mul_(up), layer.down.t())
        last_BW = x_NW.view(batch, length, -1)[:, -1]
        return F.linear(self._normed(last_BW), self._head).float()

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.size(-1),), None, self.options.norm_eps).to(x.dtype)

    def _turns(self, positions: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """For each layer the two factors of a rotation with the norms' weights in it, [T, J, D] or [B, T, J, D]."""
        if positions.numel() == 1:
            cos, sin = self._cos[positions].view(-1), self._sin[positions].view(-1)
            straight, crossed = (
                (self._straight_LJD * cos).to(self.dtype),
                (self._crossed_LJD * sin).to(self.dtype),
            )
            return zip(straight.unbind(), crossed.unbind(), strict=True)
        # Long prompts: a layer at a time, or the factors of all layers would fill the memory.
        cos, sin = self._cos[positions].unsqueeze(-2), self._sin[positions].unsqueeze(-2)
        pairs = zip(self._straight_LJD, self._crossed_LJD, strict=True)
        return (((a * cos).to(self.dtype), (b * sin).to(self.dtype)) for a, b in pairs)

    def _attend(
        self,
        layer: _Layer,
        index: int,
        x_BTW: Tensor,
        turn: tuple[Tensor, Tensor],
        cache: Cache,
        mask: Tensor | None,
    ) -> Tensor:
        o = self.options
        batch, length, _ = x_BTW.shape
        heads = F.linear(x_BTW, layer.qkv).view(batch, length, -1, o.head_dim)
        qk_BTJD, v_BTKD = self._normed(heads[:, :, : -o.kv_heads]), heads[:, :, -o.kv_heads :]
        qk_BTJD = torch.addcmul(qk_BTJD * turn[0], qk_BTJD.roll(o.head_dim // 2, -1), turn[1])
        q_BTHD, k_BTKD = qk_BTJD[:, :, : o.heads], qk_BTJD[:, :, o.heads :]
        k_BKSD, v_BKSD = cache.append(index, k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2))
        if length > 1 or mask is not None:
            out_BHTD = attend(q_BTHD.transpose(1, 2), k_BKSD, v_BKSD, mask)
            return out_BHTD.transpose(1, 2).reshape(batch * length, -1)
        q_BKGD = q_BTHD.view(batch, o.kv_heads, -1, o.head_dim)
        weights = (q_BKGD @ k_BKSD.transpose(-1, -2)).mul_(o.head_dim**-0.5).softmax(dim=-1)
        out_BKGD: Tensor = weights @ v_BKSD
        return out_BKGD.view(batch, -1)


def _head_norms(block: Block, heads: int, kv_heads: int) -> Tensor:
    """The weights of the query and key norms, one line a head: [J, D]."""
    norms = (
        block.attention.query_norm.weight.expand(heads, -1),
        block.attention.key_norm.weight.expand(kv_heads, -1),
    )
    return torch.cat(norms).float()
