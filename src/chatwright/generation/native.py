"""The decoding step in C++ (`native.cpp`), built where a compiler is found: a second or two, once in a process.

What an operation costs in Python and in PyTorch is more than a small model's arithmetic; one function for the whole
step has none of it. Prompts stay with PyTorch. Shape suffixes as in `inference`.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_float, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from chatwright.files import cpp_compiler
from chatwright.generation.cache import Cache
from chatwright.models.decoder import DecoderOptions

_SOURCE = Path(__file__).with_name("native.cpp")
_FLAGS = "-std=c++17 -O3 -march=native -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast -shared -fPIC"
_LANES = 32  # as in the source


class NoKernelError(Exception):
    """Why there is no native step here."""


class _Layer(Structure):
    _fields_ = [
        (name, c_void_p) for name in ("qkv", "bias", "output", "gate", "up", "down", "straight", "crossed")
    ]


class _Model(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("layers", "width", "heads", "kv_heads", "head_dim", "feed_forward")),
        *((name, c_int64) for name in ("vocab_size", "threads", "normed_heads")),
        ("eps", c_float),
        *((name, c_void_p) for name in ("embedding", "head", "cos", "sin")),
        ("layer", POINTER(_Layer)),
    ]


class _Step(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("rows", "slots", "capacity", "positions_stride")),
        *((name, c_void_p) for name in ("ids", "positions", "seen", "keys", "values", "logits")),
    ]


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
    library.decode_step.argtypes = [POINTER(_Model), POINTER(_Step)]
    library.decode_step.restype = None
    return library


class NativeStep:
    """One decoder's weights in the order in which the native step reads them: float32, on the CPU.

    layers: for each the matrices qkv [W, (H + 2K)·D], output [H·D, W], gate_up [W, 2F] and down [F, W]. biases: of qkv,
    or None. head: [W, V]. turns: the factors of `Prepared._turned` but for the angles, [L, J, D]. angles: cosines and
    sines, [context, D].
    """

    def __init__(
        self,
        options: DecoderOptions,
        layers: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]],
        biases: Sequence[Tensor | None],
        embedding_VW: Tensor,
        head_WV: Tensor,
        turns: tuple[Tensor, Tensor],
        angles: tuple[Tensor, Tensor],
    ) -> None:
        if embedding_VW.dtype != torch.float32 or embedding_VW.device.type != "cpu":
            raise NoKernelError("it computes in float32 on the CPU only")
        self._library = _library()
        self._kept: list[Tensor] = []
        straight_LJD, crossed_LJD = (self._hold(turn) for turn in turns)
        table = (_Layer * options.layers)()
        for index, (qkv, output, gate_up, down) in enumerate(layers):
            matrices = (qkv, output, *gate_up.chunk(2, dim=-1), down)
            first, *rest = (self._hold(_panels(matrix)).data_ptr() for matrix in matrices)
            bias = biases[index]
            held = None if bias is None else self._hold(bias).data_ptr()
            turn = (straight_LJD[index].data_ptr(), crossed_LJD[index].data_ptr())
            table[index] = _Layer(first, held, *rest, *turn)
        o = options
        self._vocab_size = o.vocab_size
        self._model = _Model(
            *(o.layers, o.width, o.heads, o.kv_heads, o.head_dim, o.feed_forward, o.vocab_size, 1),
            int(o.parts.normed_heads),
            o.norm_eps,
            *(self._hold(part).data_ptr() for part in (embedding_VW, _panels(head_WV), *angles)),
            table,
        )

    def __call__(self, ids_B: Tensor, positions: Tensor, cache: Cache, seen_BS: Tensor | None) -> Tensor:
        """As `Inference.step`."""
        rows = ids_B.size(0)
        keys, values = (_pointers(tensors) for tensors in cache.claim(1))
        logits_BV = torch.empty(rows, self._vocab_size)
        ids_B, positions = ids_B.long().contiguous(), positions.long().contiguous()
        seen_BS = None if seen_BS is None else seen_BS.expand(rows, -1).contiguous()
        self._model.threads = torch.get_num_threads()
        step = _Step(
            *(rows, cache.length, cache.capacity, int(positions.size(0) > 1)),
            *(ids_B.data_ptr(), positions.data_ptr(), None if seen_BS is None else seen_BS.data_ptr()),
            *(ctypes.addressof(keys), ctypes.addressof(values)),
            logits_BV.data_ptr(),
        )
        self._library.decode_step(self._model, step)
        return logits_BV

    def _hold(self, tensor: Tensor) -> Tensor:
        """The tensor laid out in order, kept as long as this is."""
        self._kept.append(tensor.contiguous())
        return self._kept[-1]


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _panels(matrix_IO: Tensor) -> Tensor:
    """A matrix [in, out] in panels of the native step: [out / lanes, in, lanes], zeros past the last output."""
    padded = F.pad(matrix_IO, (0, -matrix_IO.size(1) % _LANES))
    return padded.view(matrix_IO.size(0), -1, _LANES).transpose(0, 1)
