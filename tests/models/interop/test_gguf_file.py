"""GGUF files as they lie on disk: every type of tensor, and files that are broken in every way."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter, dequantize
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from chatwright.errors import UserError
from chatwright.models.interop.gguf_file import open_gguf, readable_types


def write(path: Path, tensors: dict[str, np.ndarray], kind: Any = None, **metadata: Any) -> Path:
    """A file by `gguf` itself. kind: of raw blocks."""
    writer = GGUFWriter(path, "llama")
    for key, value in metadata.items():
        add = writer.add_string if isinstance(value, str) else writer.add_array
        add(key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    tensors = {"a": np.arange(64, dtype=np.float32).reshape(2, 32), "b": np.ones(3, np.float16)}
    return write(tmp_path / "m.gguf", tensors, text="héllo", numbers=[1, 2], words=["x", "", "yz"])


def test_metadata_and_tensors_are_what_the_peer_reads(small: Path) -> None:
    file, peer = open_gguf(small), GGUFReader(small)
    theirs = {key: f.contents() for key, f in peer.fields.items() if not key.startswith("GGUF.")}
    assert file.metadata == theirs
    assert file.metadata["words"] == ["x", "", "yz"]
    for tensor in peer.tensors:
        expected = np.array(tensor.data, dtype=np.float32)
        assert np.array_equal(file.tensor(tensor.name).numpy(), expected)


@pytest.mark.parametrize("name", readable_types())
def test_every_type_is_decoded_as_the_peer_does(tmp_path: Path, name: str) -> None:
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    rows = np.random.default_rng(0).integers(0, 256, (4, 3, 2 * size), dtype=np.uint8)
    if kind == GGMLQuantizationType.F64:
        rows = np.random.default_rng(0).normal(size=(4, 3, 2)).view(np.uint8)
    path = write(tmp_path / "m.gguf", {"a": rows}, kind)
    file = open_gguf(path)
    assert file.tensors["a"].shape == (4, 3, 2 * block)
    with np.errstate(all="ignore"):
        plain = kind == GGMLQuantizationType.F64
        expected = rows.view(np.float64).astype(np.float32) if plain else dequantize(rows, kind)
    assert np.array_equal(file.tensor("a").numpy(), expected, equal_nan=True)
    assert np.array_equal(file.tensor("a", 2).numpy(), expected[2], equal_nan=True)


def test_reading_and_writing_to_a_tensor_leaves_the_file(small: Path) -> None:
    before = small.read_bytes()
    open_gguf(small).tensor("a").zero_()
    assert small.read_bytes() == before
    assert open_gguf(small).tensor("a").dtype == torch.float32


def patched(at: int, format: str, value: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + struct.pack(format, value) + data[at + struct.calcsize(format) :]


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is empty"),
    "not gguf": (lambda data: b"PK" + data[2:], "is not a GGUF file"),
    "cut in the magic": (lambda data: data[:3], "is not a GGUF file"),
    "cut in the header": (lambda data: data[:20], "ends inside its header"),
    "old version": (patched(4, "<I", 1), "GGUF of version 1"),
    "big-endian": (patched(4, ">I", 3), "big-endian"),
    "tensors without end": (patched(8, "<Q", 1 << 62), "claims 4,611,686,018,427,387,904 tensors"),
    "metadata without end": (patched(16, "<Q", 1 << 63), "metadata entries"),
    "a key without end": (patched(24, "<Q", (1 << 64) - 1), "ends inside the name of a metadata entry"),
    "cut in the data": (lambda data: data[:-40], "should lie at bytes"),
    "a key that is no text": (patched(33, "<B", 0xFF), "is not UTF-8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_what_is_wrong(small: Path, name: str) -> None:
    breaking, said = BROKEN[name]
    small.write_bytes(breaking(small.read_bytes()))
    with pytest.raises(UserError, match=said) as caught:
        open_gguf(small)
    assert str(small) in str(caught.value) and "\n" not in str(caught.value)


def header(*pairs: bytes, tensors: tuple[bytes, ...] = ()) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join((*pairs, *tensors))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(name: str, dims: tuple[int, ...], kind: int, start: int) -> bytes:
    sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + sizes + struct.pack("<IQ", kind, start)


ROOM = bytes(4096)
HOSTILE = {
    "a list without end": (header(text("k") + struct.pack("<IIQ", 9, 0, 1 << 60)), "ends inside 'k'"),
    "words without end": (header(text("k") + struct.pack("<IIQ", 9, 8, 1 << 60)), "texts in 'k'"),
    "a list of lists": (header(text("k") + struct.pack("<IIQ", 9, 9, 4) + ROOM), "list of lists"),
    "an unknown type": (header(text("k") + struct.pack("<I", 77) + ROOM), "the type 77 of 'k'"),
    "a key twice": (header(*[text("k") + struct.pack("<II", 4, 1)] * 2), "'k' stands twice"),
    "an odd alignment": (
        header(text("general.alignment") + struct.pack("<II", 4, 24)),
        "general.alignment is 24",
    ),
    "no dimensions": (header(tensors=(tensor("t", (), 0, 0) + ROOM,)), "has 0 dimensions"),
    "many dimensions": (
        header(tensors=(text("t") + struct.pack("<I", 1 << 31) + ROOM,)),
        "has 2,147,483,648 dim",
    ),
    "a dimension of 0": (header(tensors=(tensor("t", (0,), 0, 0) + ROOM,)), "the shape"),
    "a huge tensor": (header(tensors=(tensor("t", (1 << 40, 1 << 40), 0, 0) + ROOM,)), "should lie at bytes"),
    "a product past 64 bits": (
        header(tensors=(tensor("t", (1 << 32, 1 << 32), 0, 0) + ROOM,)),
        "should lie at",
    ),
    "half a block": (header(tensors=(tensor("t", (33,), 8, 0) + ROOM,)), "of type Q8_0 has the shape"),
    "an unknown tensor type": (header(tensors=(tensor("t", (32,), 99, 0) + ROOM,)), "of type 99; supported"),
    "integers": (header(tensors=(tensor("t", (32,), 26, 0) + ROOM,)), "of type I32; supported are F32"),
    "an offset past the end": (header(tensors=(tensor("t", (8,), 0, 1 << 40) + ROOM,)), "should lie at"),
    "an odd offset": (header(tensors=(tensor("t", (8,), 0, 4) + ROOM,)), "should lie at bytes"),
    "overlap": (
        header(tensors=(tensor("t", (16,), 0, 0), tensor("u", (8,), 0, 32) + ROOM)),
        "t and u overlap",
    ),
    "a tensor twice": (
        header(tensors=(tensor("t", (8,), 0, 0), tensor("t", (8,), 0, 32) + ROOM)),
        "t stands twice",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_costs_nothing(tmp_path: Path, name: str) -> None:
    data, said = HOSTILE[name]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(UserError, match=said) as caught:
        open_gguf(path)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(UserError, match="cannot read"):
            open_gguf(path)
