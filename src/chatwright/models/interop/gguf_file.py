"""A GGUF file (version 2 and 3), memory-mapped: its metadata, and its tensors as float32 when asked for.

Every length is held against the size of the file before anything of that length is made, which `gguf.GGUFReader` does
not do. The blocks of quantized types are decoded by `gguf.quants`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize
from numpy.typing import NDArray
from torch import Tensor

from chatwright.errors import UserError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32
_MOST_DIMENSIONS = 4
_SCALARS = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
    GGUFValueType.BOOL: "?",
}
# The least bytes that an entry takes: of the metadata a key, a type and a byte; of the tensors a name, a number of
# dimensions, one dimension, a type and an offset.
_LEAST_PAIR, _LEAST_TENSOR = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies. shape: rows first, as PyTorch counts. start: the byte in the file; size: in bytes."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """An open file: what it says of the model, and where its tensors lie."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Entry]
    data: NDArray[np.uint8]

    def tensor(self, name: str, index: int | None = None) -> Tensor:
        """A tensor in float32; with `index` that part of its first dimension only.

        One that is stored in float32 is mapped from the file and not copied until it is written to.
        """
        entry = self.tensors[name]
        raw, shape = self.data[entry.start : entry.start + entry.size], entry.shape
        if index is not None:
            raw, shape = raw.reshape(shape[0], -1)[index], shape[1:]
        return _decoded(raw, entry.kind, shape)


def _decoded(raw: NDArray[np.uint8], kind: GGMLQuantizationType, shape: tuple[int, ...]) -> Tensor:
    if kind in (GGMLQuantizationType.F16, GGMLQuantizationType.BF16):
        half = torch.float16 if kind == GGMLQuantizationType.F16 else torch.bfloat16
        return torch.from_numpy(np.array(raw)).view(half).float().view(shape)
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F64):
        plain = raw.view("<f4" if kind == GGMLQuantizationType.F32 else "<f8")
        aligned = plain if plain.flags.aligned else plain.copy()
        return torch.from_numpy(aligned).float().view(shape)
    with np.errstate(all="ignore"):  # a scale that is infinite is the file's affair
        return torch.from_numpy(dequantize(raw.reshape(*shape[:-1], -1), kind))


@cache
def _is_readable(kind: GGMLQuantizationType) -> bool:
    _, size = GGML_QUANT_SIZES[kind]
    try:
        with np.errstate(all="ignore"):
            dequantize(np.zeros((1, size), np.uint8), kind)
    except NotImplementedError:
        return kind == GGMLQuantizationType.F64
    return True


def readable_types() -> list[str]:
    """The tensor types that can be read, by name."""
    return [kind.name for kind in GGML_QUANT_SIZES if _is_readable(kind)]


def open_gguf(path: str | Path) -> GgufFile:
    """Map a file and read its header. Raises `UserError` for one that is not GGUF, is cut short or contradicts itself."""
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; copy it again")
        # copy on write: PyTorch wants arrays that may be written to, and the file stays as it is
        data: NDArray[np.uint8] = np.memmap(path, np.uint8, mode="c")
    except OSError as error:
        raise UserError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    return _Header(path, data).read()


class _Header:
    """Reads from the beginning of the file, and never past its end."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path, self.data = path, data
        self.bytes = data.data
        self.at = 0

    def read(self) -> GgufFile:
        if bytes(self.bytes[:4]) != MAGIC:
            raise UserError(f"{self.path} is not a GGUF file: it does not begin with {MAGIC.decode()!r}")
        self.at = 4
        self._check_version()
        tensor_count, pair_count = self._number("Q"), self._number("Q")
        self._room_for(pair_count, _LEAST_PAIR, "metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = self._text("the name of a metadata entry")
            if key in metadata:
                raise self._broken(f"{key!r} stands twice in the metadata")
            metadata[key] = self._value(key)
        self._room_for(tensor_count, _LEAST_TENSOR, "tensors")
        found = [self._tensor() for _ in range(tensor_count)]
        return GgufFile(self.path, metadata, self._placed(found, metadata), self.data)

    def _check_version(self) -> None:
        version = self._number("I")
        if version & 0xFFFF == 0:
            raise UserError(
                f"{self.path} is for a big-endian machine; convert it on one, or take another file"
            )
        if version not in _VERSIONS:
            known = " and ".join(map(str, _VERSIONS))
            raise UserError(f"{self.path} is GGUF of version {version}; versions {known} are supported")

    def _broken(self, what: str) -> UserError:
        return UserError(f"{self.path} is broken: {what}; copy or make it again")

    def _room_for(self, count: int, least: int, what: str) -> None:
        left = len(self.bytes) - self.at
        if count * least > left:
            raise self._broken(
                f"it claims {count:,} {what}, more than its {len(self.bytes):,} bytes can hold"
            )

    def _take(self, size: int, what: str) -> memoryview:
        if size > len(self.bytes) - self.at:
            raise self._broken(f"it ends inside {what} (at byte {len(self.bytes):,})")
        start, self.at = self.at, self.at + size
        return self.bytes[start : self.at]

    def _number(self, code: str) -> int:
        format = f"<{code}"
        return int(struct.unpack(format, self._take(struct.calcsize(format), "its header"))[0])

    def _text(self, what: str) -> str:
        try:
            return str(self._take(self._number("Q"), what), "utf-8")
        except UnicodeDecodeError:
            raise self._broken(f"{what} is not UTF-8") from None

    def _type(self, key: str) -> GGUFValueType:
        code = self._number("I")
        try:
            return GGUFValueType(code)
        except ValueError:
            raise self._broken(f"the type {code} of {key!r} is not known") from None

    def _value(self, key: str) -> Any:
        kind = self._type(key)
        if kind == GGUFValueType.STRING:
            return self._text(f"{key!r}")
        if kind != GGUFValueType.ARRAY:
            return self._scalars(kind, 1, key)[0]
        kind, count = self._type(key), self._number("Q")
        if kind == GGUFValueType.ARRAY:
            raise self._broken(f"{key!r} is a list of lists")
        if kind != GGUFValueType.STRING:
            return self._scalars(kind, count, key)
        self._room_for(count, 8, f"texts in {key!r}")
        return [self._text(f"{key!r}") for _ in range(count)]

    def _scalars(self, kind: GGUFValueType, count: int, key: str) -> list[Any]:
        dtype = np.dtype(_SCALARS[kind])
        raw = self._take(count * dtype.itemsize, f"{key!r}")
        if kind == GGUFValueType.BOOL:
            return [byte != 0 for byte in raw]
        values: list[Any] = np.frombuffer(raw, dtype).tolist()
        return values

    def _tensor(self) -> Entry:
        """A tensor whose start is still counted from the beginning of the data."""
        name = self._text("the name of a tensor")
        count = self._number("I")
        if not 1 <= count <= _MOST_DIMENSIONS:
            raise self._broken(f"the tensor {name} has {count:,} dimensions")
        dims = tuple(reversed([self._number("Q") for _ in range(count)]))
        code, start = self._number("I"), self._number("Q")
        try:
            kind = GGMLQuantizationType(code)
        except ValueError:
            kind = None
        if kind is None or not _is_readable(kind):
            label = f"type {code}" if kind is None else f"type {kind.name}"
            known = ", ".join(readable_types())
            raise UserError(f"{self.path}: the tensor {name} is of {label}; supported are {known}")
        block, size = GGML_QUANT_SIZES[kind]
        if min(dims) < 1 or dims[-1] % block:
            raise self._broken(f"the tensor {name} of type {kind.name} has the shape {dims}")
        return Entry(name, kind, dims, start, prod(dims) // block * size)

    def _placed(self, entries: list[Entry], metadata: dict[str, Any]) -> dict[str, Entry]:
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self._broken(f"general.alignment is {alignment!r}, not a power of two")
        begin = -(-self.at // alignment) * alignment
        placed: dict[str, Entry] = {}
        for entry in entries:
            start, end = begin + entry.start, begin + entry.start + entry.size
            if entry.name in placed:
                raise self._broken(f"the tensor {entry.name} stands twice in it")
            if entry.start % alignment or end > len(self.bytes):
                raise self._broken(
                    f"the tensor {entry.name} should lie at bytes {start:,} to {end:,} of {len(self.bytes):,}"
                )
            placed[entry.name] = Entry(entry.name, entry.kind, entry.shape, start, entry.size)
        for before, after in _neighbours(placed):
            if before.start + before.size > after.start:
                raise self._broken(f"the tensors {before.name} and {after.name} overlap")
        return placed


def _neighbours(placed: dict[str, Entry]) -> Iterator[tuple[Entry, Entry]]:
    ordered = sorted(placed.values(), key=lambda entry: entry.start)
    return pairwise(ordered)
