"""A decoder's forward pass with a cache, for decoding: native where it can be, else laid out where the parts allow, else
the decoder's own.

Shape suffixes: B batch, T new positions, S seen positions, P parts, W width, V vocabulary.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.generation.cache import Cache, Joined, seen_from, seen_last
from chatwright.generation.native import MANY_ROWS, Native, NoKernelError, Weights
from chatwright.generation.prepared import Prepared
from chatwright.generation.ways import Part, Way
from chatwright.models.decoder import Decoder
from chatwright.models.experts import Stack
from chatwright.models.layers import Linear
from chatwright.progress import say

_ROUNDS = 4


class Inference:
    """A decoder for decoding. Prepare again after training: what was laid out does not follow.

    `weights`: what they are kept as; None: the decoder's compute type. `compiled`: all of it is one native function
    where there can be one (a CPU, a C++ compiler, no experts), else a line says why not; integers always are. It takes a
    copy of the weights. Where integers cannot be native they are PyTorch's where the parts are Llama's or Qwen's, else
    the weights stay what is fastest.
    """

    def __init__(self, model: Decoder, compiled: bool = False, weights: Weights | None = None) -> None:
        self.options = model.options
        self.is_compiled = False
        self.weights: Weights = weights or ("bf16" if model.compute_dtype == torch.bfloat16 else "float32")
        if compiled or self.weights in ("int8", "int4"):
            try:
                native = Native(model, self.weights)
                self._way: Way = native
                self.dtype, self.is_compiled = native.cache_dtype, True
                return
            except NoKernelError as reason:
                say(f"  decoding is not compiled: {reason}")
        self.dtype, are_integers = model.compute_dtype, False
        if weights is not None:
            is_wide = weights == "float32" or (weights != "bf16" and not bfloat16_is_fast())
            self.dtype = torch.float32 if is_wide else torch.bfloat16
            are_integers = weights in ("int8", "int4") and not is_wide and Prepared.takes(model.options)
            self.weights = "int8" if are_integers else "float32" if is_wide else "bf16"
        if Prepared.takes(model.options):
            self._way = Prepared(model, self.dtype, are_integers)
        else:
            self._way = Plain(model, self.dtype)

    @property
    def device(self) -> torch.device:
        return self._way.device

    @property
    def is_exact(self) -> bool:
        """Whether what a token gives is the same to the last bit, whatever runs beside it and in whichever parts."""
        return self.is_compiled

    def settle_threads(self, threads: int | None) -> None:
        """Run on so many threads from now on; None: on as many as a short measurement finds fastest, for few rows and for
        many apart."""
        if not isinstance(self._way, Native):
            torch.set_num_threads(threads or torch.get_num_threads())
        elif threads is not None:
            self._way.threads = (threads, threads)
        else:
            self._way.threads = (self._fastest_threads(1), self._fastest_threads(4 * MANY_ROWS))

    def _fastest_threads(self, rows: int) -> int:
        assert isinstance(self._way, Native)
        most = torch.get_num_threads()
        spent: dict[int, float] = {}
        cache, ids = self.cache(1, rows), [0] * min(rows, self.options.context)
        counts = sorted({1, most, *(1 << power for power in range(most.bit_length() - 1))})
        for _ in range(_ROUNDS):
            # in turn, so that a slow moment of the machine hits all of them
            for count in counts:
                self._way.threads = (count, count)
                cache.length = 0
                begun = time.perf_counter()
                self.run([Part(cache, ids, 0)])
                spent[count] = min(spent.get(count, math.inf), time.perf_counter() - begun)
        return min(counts, key=lambda count: spent[count])

    def cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for this model."""
        o = self.options
        return Cache(o.layers, rows, o.kv_heads, o.head_dim, capacity, self.dtype, self.device)

    def prefill(
        self, ids_BT: Tensor, cache: Cache, starts_B: Tensor | None = None, is_wanted: bool = True
    ) -> Tensor:
        """Run several new tokens a row; returns the logits after the last of them, [B, V] float32, where they are wanted.

        starts: the slot of each row's first token, [B]; what stands before it is empty. None: 0.
        """
        return self._way.prefill(ids_BT, cache, starts_B, is_wanted)

    def step(self, ids_B: Tensor, cache: Cache, starts_B: Tensor | None = None) -> Tensor:
        """Run one new token a row; returns the logits after it, [B, V] float32. starts: see `prefill`."""
        return self._way.step(ids_B, cache, starts_B)

    def run(self, parts: Sequence[Part]) -> Tensor:
        """Run new tokens of different sequences; returns the logits that the parts want, in order, [P, V] float32."""
        return self._way.run(parts)


class Plain(Way):
    """The decoder's own forward pass over a cache."""

    def __init__(self, model: Decoder, dtype: torch.dtype) -> None:
        cast = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, Linear | Stack)}
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        with torch.device("meta"):
            # without what training has compiled, and with matrices that are cast once and not at every step
            self._model = Decoder(model.options)
        self._model.load_state_dict(
            {name: weight.to(dtype) if name in cast else weight for name, weight in weights.items()},
            assign=True,
        )
        self._model.requires_grad_(False).compute_dtype = dtype
        self._head_VW = model.head_weight.detach().to(dtype)

    @property
    def device(self) -> torch.device:
        return self._head_VW.device

    def prefill(
        self, ids_BT: Tensor, cache: Cache, starts_B: Tensor | None, is_wanted: bool = True
    ) -> Tensor:
        """As `Inference.prefill`."""
        positions, mask = seen_from(cache.length, ids_BT.size(1), starts_B, self.device)
        return self._logits(ids_BT, positions, cache, mask)

    def step(self, ids_B: Tensor, cache: Cache | Joined, starts_B: Tensor | None) -> Tensor:
        """As `Inference.step`."""
        positions, seen_BS = seen_last(cache.length, starts_B, self._model.options.context, self.device)
        mask = None if seen_BS is None else seen_BS[:, None]
        return self._logits(ids_B[:, None], positions[:, None], cache, mask)

    def _logits(
        self, ids_BT: Tensor, positions: Tensor, cache: Cache | Joined, mask: Tensor | None
    ) -> Tensor:
        found = self._model(ids_BT, outputs=("hidden",), cache=cache, positions=positions, mask=mask)
        return F.linear(found["hidden"][:, -1], self._head_VW).float()


@functools.cache
def bfloat16_is_fast() -> bool:
    """Whether products in bfloat16 beat those in float32 here, by a few short ones."""
    spent = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(64, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
        times = []
        for _ in range(4):
            begun = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - begun)
        spent[dtype] = min(times)
    return spent[torch.bfloat16] < spent[torch.float32]
