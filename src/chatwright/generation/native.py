"""The decoders in C++ (`native.cpp`), built where a compiler is found: a few seconds, once in a process.

What an operation costs in Python and in PyTorch is more than a small model's arithmetic; one function for everything
has none of it. It reads weights as float32, bfloat16, or integers of eight or four bits. It is built for the processor
it runs on: with AVX512-VNNI sums of integers are exact, elsewhere integers are widened to floats.

Shape suffixes as in `inference`.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.files import cpp_compiler
from chatwright.generation.cache import Cache, Joined
from chatwright.generation.memory import Arena
from chatwright.generation.quantized import Quantized, quantized
from chatwright.generation.ways import Part, Way
from chatwright.models.decoder import Block, Decoder, DecoderOptions
from chatwright.models.layers import MLP, LayerNorm, RMSNorm, SwiGLU
from chatwright.models.positions import rotary_table

Weights = Literal["float32", "bf16", "int8", "int4"]

_SOURCE = Path(__file__).with_name("native.cpp")
_FLAGS = "-std=c++17 -O3 -march=native -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast -shared -fPIC"
_LANES = 32  # as in the source
_ROW = 9  # numbers of a row there
MANY_ROWS = 16
_MOST_ROWS = 256  # of one call: what they are on the way should stay in the processor's cache
_KINDS: dict[Weights, int] = {"float32": 0, "bf16": 1, "int8": 2, "int4": 3}


class NoKernelError(Exception):
    """Why there is no native model here."""


class _Matrix(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("kind", "inputs", "outputs", "stride")),
        *((name, c_void_p) for name in ("weights", "bias")),
    ]


class _Layer(Structure):
    _fields_ = [
        *((name, _Matrix) for name in ("qkv", "output", "gate", "up", "down")),
        *((name, c_void_p) for name in ("attention_norm", "attention_shift", "feed_norm", "feed_shift")),
        *((name, c_void_p) for name in ("query_norm", "key_norm")),
        ("band", c_int64),
    ]


class _Model(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("layers", "width", "heads", "kv_heads", "head_dim", "feed_forward")),
        *((name, c_int64) for name in ("threads", "norm_after", "exact_gelu", "half_cache")),
        ("eps", c_float),
        ("head", _Matrix),
        *((name, c_void_p) for name in ("norm", "shift", "cos", "sin", "embedding")),
        ("half_embedding", c_int64),
        ("places", c_void_p),
        ("layer", POINTER(_Layer)),
    ]


class _Step(Structure):
    _fields_ = [("rows", c_int64), ("row", c_void_p), ("logits", c_void_p)]


@functools.cache
def _library() -> ctypes.CDLL:
    """The built source. Raises NoKernelError."""
    compiler = cpp_compiler()
    if compiler is None:
        raise NoKernelError("there is no C++ compiler here (install g++ or clang++)")
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory) / "native.so"
        command = [compiler, *_FLAGS.split(), str(_SOURCE), "-o", str(built)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = next(
                    (line for line in done.stderr.splitlines() if "error" in line), "no reason given"
                )
                raise NoKernelError(f"{compiler} failed: {reason}")
            # PyTorch's own OpenMP is in the process already and serves this as well: one team of threads.
            library = ctypes.CDLL(str(built))
        except OSError as error:
            raise NoKernelError(str(error)) from error
    library.run_rows.argtypes = [POINTER(_Model), POINTER(_Step)]
    library.run_rows.restype = None
    library.quad.restype = c_int64
    return library


class Native(Way):
    """A decoder's weights as they stand now, in the order in which the native source reads them, on the CPU.

    `threads`: of a call with few rows and of one with many; None: PyTorch's number at the call.
    """

    def __init__(self, model: Decoder, weights: Weights) -> None:
        if model.embedding.weight.device.type != "cpu":
            raise NoKernelError("it computes on the CPU only")
        if model.options.routing is not None:
            raise NoKernelError("it knows no experts")
        if weights in ("float32", "bf16") and model.compute_dtype not in (torch.float32, torch.bfloat16):
            raise NoKernelError(f"it computes in float32 or bfloat16, not in {model.compute_dtype}")
        self.options, self.weights = model.options, weights
        self.threads: tuple[int, int] | None = None
        self._library = _library()
        self._arena = Arena()
        with torch.no_grad():
            self._model = self._laid_out(model)

    @property
    def cache_dtype(self) -> torch.dtype:
        return torch.float32 if self.weights == "float32" else torch.bfloat16

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def prefill(
        self, ids_BT: Tensor, cache: Cache, starts_B: Tensor | None, is_wanted: bool = True
    ) -> Tensor:
        """As `Inference.prefill`."""
        begin, length = cache.length, ids_BT.size(1)
        cache.claim(length)
        starts = [0] * ids_BT.size(0) if starts_B is None else starts_B.tolist()
        # rows that are finished but not yet gone may run past the context; nobody reads them
        end = self.options.context - 1
        rows = array("q")
        for row, (ids, start) in enumerate(zip(ids_BT.tolist(), starts, strict=True)):
            place = cache.place(row)
            # what stands before a row's start is never seen
            for slot in range(max(start, begin), begin + length):
                result = row if is_wanted and slot == begin + length - 1 else -1
                rows.extend((ids[slot - begin], min(slot - start, end), start, slot, *place, result))
        return self._run(rows, len(starts) if is_wanted else 0)

    def step(self, ids_B: Tensor, cache: Cache | Joined, starts_B: Tensor | None) -> Tensor:
        """As `Inference.step`."""
        assert isinstance(cache, Cache)
        return self.prefill(ids_B[:, None], cache, starts_B)

    def run(self, parts: Sequence[Part]) -> Tensor:
        """As `Inference.run`."""
        rows, results = array("q"), 0
        for part in parts:
            begin = part.cache.length
            part.cache.claim(len(part.ids))
            place = part.cache.place(0)
            first_wanted = begin + len(part.ids) - part.wanted
            for slot, token in enumerate(part.ids, begin):
                is_wanted = slot >= first_wanted
                rows.extend((token, slot, 0, slot, *place, results if is_wanted else -1))
                results += is_wanted
        return self._run(rows, results)

    def _run(self, rows: array[int], results: int) -> Tensor:
        """Run rows, of nine numbers each as in the source, so many at a time, in the order in which they are given."""
        logits, block = torch.empty(results, self.options.vocab_size), _MOST_ROWS * _ROW
        few, many = self.threads or (torch.get_num_threads(),) * 2
        for begin in range(0, len(rows), block):
            part = rows[begin : begin + block]
            count = len(part) // _ROW
            self._model.threads = many if count >= MANY_ROWS else few
            self._library.run_rows(self._model, _Step(count, part.buffer_info()[0], logits.data_ptr()))
        return logits

    def _laid_out(self, model: Decoder) -> _Model:
        o, parts = model.options, model.options.parts
        layers = (_Layer * o.layers)()
        blocks: list[Block] = list(model.blocks)  # type: ignore[arg-type]
        for index, block in enumerate(blocks):
            layers[index] = self._layer(block, o, index)
        angles: tuple[int | None, int | None] = (None, None)
        if parts.positions == "rotary":
            table = rotary_table(torch.arange(o.context), o.head_dim, o.rope_theta, o.scaling)
            angles = self._at(table[0]), self._at(table[1])
        is_half = self.weights != "float32"
        embedding = model.embedding.weight.detach()
        norm = (None, None) if parts.norm_after else self._norm(model.final_norm)
        return _Model(
            *(o.layers, o.width, o.heads, o.kv_heads, o.head_dim, o.feed_forward, 1),
            *(int(parts.norm_after), int(parts.feed_forward == "gelu"), int(is_half)),
            o.norm_eps,
            self._matrix(model.head_weight, None, "int8" if self.weights == "int4" else self.weights),
            *(*norm, *angles),
            self._at(embedding.bfloat16() if is_half else embedding),
            int(is_half),
            None if model.positions is None else self._at(model.positions.weight.detach()),
            layers,
        )

    def _layer(self, block: Block, options: DecoderOptions, index: int) -> _Layer:
        attention, feed = block.attention, block.feed_forward
        three = (attention.query, attention.key, attention.value)
        biases: list[Tensor] = [part.bias for part in three if part.bias is not None]
        qkv = torch.cat([part.weight for part in three])
        norms = (attention.query_norm, attention.key_norm)
        return _Layer(
            self._matrix(qkv, torch.cat(biases) if biases else None),
            self._matrix(attention.output.weight, attention.output.bias),
            *self._feed(feed),
            *(*self._norm(block.attention_norm), *self._norm(block.feed_forward_norm)),
            *(None if norm is None else self._at(norm.weight) for norm in norms),
            options.band_of(index) or 0,
        )

    def _feed(self, feed: nn.Module) -> tuple[_Matrix, _Matrix, _Matrix]:
        """Gate, up and down; without a gate the first is empty."""
        if isinstance(feed, MLP):
            up = self._matrix(feed.up.weight, feed.up.bias)
            return _Matrix(), up, self._matrix(feed.down.weight, feed.down.bias)
        assert isinstance(feed, SwiGLU)
        gate, up = self._matrices((feed.gate.weight, feed.up.weight))
        return gate, up, self._matrix(feed.down.weight, None)

    def _matrix(self, weight_OI: Tensor, bias: Tensor | None, kind: Weights | None = None) -> _Matrix:
        (matrix,) = self._matrices((weight_OI,), kind)
        matrix.bias = None if bias is None else self._at(bias)
        return matrix

    def _matrices(self, weights: Sequence[Tensor], kind: Weights | None = None) -> list[_Matrix]:
        """Matrices of one shape that are read together, a panel of each in turn."""
        kind = kind or self.weights
        outputs, inputs = weights[0].shape
        panels = torch.stack([_panels(weight, kind, self._library.quad()) for weight in weights], dim=1)
        size = panels[0, 0].nbytes
        place = self._at(panels)
        return [
            _Matrix(_KINDS[kind], inputs, outputs, size * len(weights), place + index * size, None)
            for index in range(len(weights))
        ]

    def _norm(self, norm: nn.Module) -> tuple[int, int | None]:
        assert isinstance(norm, RMSNorm | LayerNorm)
        return self._at(norm.weight), self._at(norm.bias) if isinstance(norm, LayerNorm) else None

    def _at(self, tensor: Tensor) -> int:
        """The address of a tensor laid out in order, kept as long as this is."""
        return self._arena.place(tensor.detach())


def _panels(weight_OI: Tensor, kind: Weights, quad: int) -> Tensor:
    """A matrix in panels of the native source, zeros past the last output: [panels, inputs, lanes], or bytes."""
    if kind == "float32":
        return _split(weight_OI.float()).transpose(1, 2)
    if kind == "bf16":
        return _split(weight_OI.bfloat16()).transpose(1, 2)
    made = quantized(weight_OI, 8 if kind == "int8" else 4)
    groups = [_levels(made, quad), _group_bytes(made.scales)]
    return torch.cat(groups if made.least is None else [*groups, _group_bytes(made.least)], dim=2)


def _split(rows: Tensor) -> Tensor:
    """[O, …] by panels: [O / lanes, lanes, …], zeros past the last output."""
    padded = F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, -rows.size(0) % _LANES))
    return padded.view(-1, _LANES, *rows.shape[1:])


def _group_bytes(scales_OG: Tensor) -> Tensor:
    """[panels, groups, bytes]."""
    return _split(scales_OG).transpose(1, 2).contiguous().view(torch.uint8)


def _levels(made: Quantized, quad: int) -> Tensor:
    """[panels, groups, bytes], of which each has one level of eight bits, or two of four."""
    outputs, groups, _ = made.levels.shape
    levels = made.levels.view(outputs, groups, -1, quad)
    if made.bits == 4:
        pairs = made.levels.view(outputs, groups, -1, 2, quad)
        levels = pairs[..., 0, :] | (pairs[..., 1, :] << 4)
    return _split(levels).permute(0, 2, 3, 1, 4).flatten(2)
