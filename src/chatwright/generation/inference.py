"""A decoder's forward pass with a cache, for decoding: laid out for it where the parts allow, else the decoder's own.

Shape suffixes: B batch, T new positions, S seen positions, W width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.generation.cache import Cache
from chatwright.generation.native import NoKernelError
from chatwright.generation.prepared import Prepared
from chatwright.models.decoder import Decoder
from chatwright.models.experts import Stack
from chatwright.models.layers import Linear
from chatwright.progress import say


class Inference:
    """A decoder for decoding, in its compute type. Prepare again after training: what was laid out does not follow.

    `compiled`: steps run as one native function where they can (Llama's and Qwen's parts, float32 on a CPU, a C++
    compiler), else a line says why not. It takes a second copy of the weights.
    """

    def __init__(self, model: Decoder, compiled: bool = False) -> None:
        self.options = model.options
        self.dtype = model.compute_dtype
        self.is_compiled = False
        self._way: Prepared | Plain = Prepared(model) if Prepared.takes(model.options) else Plain(model)
        if compiled:
            self._compile()

    @property
    def device(self) -> torch.device:
        return self._way.device

    def cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for this model."""
        o = self.options
        return Cache(o.layers, rows, o.kv_heads, o.head_dim, capacity, self.dtype, self.device)

    def prefill(self, ids_BT: Tensor, positions: Tensor, cache: Cache, mask: Tensor) -> Tensor:
        """Run several new tokens a row; returns the logits after the last of them, [B, V] float32.

        positions: [T], or [B, T] where rows differ. mask: true where a key may be seen, [T, S] or [B, T, S].
        """
        return self._way.prefill(ids_BT, positions, cache, mask)

    def step(self, ids_B: Tensor, positions: Tensor, cache: Cache, seen_BS: Tensor | None = None) -> Tensor:
        """Run one new token a row; returns the logits after it, [B, V] float32.

        positions: [1], or [B] where rows differ. seen: true where a key may be seen; None where all may.
        """
        return self._way.step(ids_B, positions, cache, seen_BS)

    def _compile(self) -> None:
        try:
            self._way.compile()
            self.is_compiled = True
        except NoKernelError as reason:
            say(f"  decoding is not compiled: {reason}")


class Plain:
    """The decoder's own forward pass over a cache."""

    def __init__(self, model: Decoder) -> None:
        dtype = model.compute_dtype
        cast = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, Linear | Stack)}
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        with torch.device("meta"):
            # without what training has compiled, and with matrices that are cast once and not at every step
            self._model = Decoder(model.options)
        self._model.load_state_dict(
            {name: weight.to(dtype) if name in cast else weight for name, weight in weights.items()},
            assign=True,
        )
        self._model.compute_dtype = dtype
        self._head_VW = model.head_weight.detach().to(dtype)

    @property
    def device(self) -> torch.device:
        return self._head_VW.device

    def prefill(self, ids_BT: Tensor, positions: Tensor, cache: Cache, mask: Tensor | None) -> Tensor:
        """As `Inference.prefill`; without a mask everything is seen."""
        found = self._model(ids_BT, outputs=("hidden",), cache=cache, positions=positions, mask=mask)
        return F.linear(found["hidden"][:, -1], self._head_VW).float()

    def step(self, ids_B: Tensor, positions: Tensor, cache: Cache, seen_BS: Tensor | None = None) -> Tensor:
        """As `Inference.step`."""
        mask = None if seen_BS is None else seen_BS[:, None]
        return self.prefill(ids_B[:, None], positions[:, None], cache, mask)

    def compile(self) -> None:
        raise NoKernelError("it knows the parts of Llama and Qwen only, without experts")
