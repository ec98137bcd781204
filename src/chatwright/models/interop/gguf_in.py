"""A GGUF file as a public directory in memory: config.json, weights and tokenizer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.interop.gguf_config import (
    Family,
    family_of_gguf,
    heads_of,
    letters_of,
    read_config,
)
from chatwright.models.interop.gguf_file import GgufFile, open_gguf
from chatwright.models.interop.gguf_rope import FREQUENCIES
from chatwright.models.interop.gguf_tensors import Named, switched
from chatwright.models.interop.layout import Layout, Stored, StoredWeights, half_split
from chatwright.tokenization.convert import files_from_gguf, ids_from_gguf

_SHOWN = 3


def read_gguf(path: str | Path) -> Layout:
    """A GGUF file; every weight is read and dequantized to float32 when it is asked for.

    The architectures are those of `gguf_config.FAMILIES`. Raises `UserError` for a file that is broken, cut short, of
    another architecture, or whose tensors, sizes and tokenizer do not fit one another.
    """
    file = open_gguf(path)
    place = str(file.path)
    family = family_of_gguf(file.metadata, place)
    shapes = {name: entry.shape for name, entry in file.tensors.items()}
    factors = file.tensor(FREQUENCIES) if family.rotary and FREQUENCIES in shapes else None
    config = read_config(family, file.metadata, shapes, factors, place)
    config |= ids_from_gguf(file.metadata, place)
    weights = _weights(file, family, config, place)
    tokenizer = files_from_gguf(file.metadata, place)
    rows, count = config["vocab_size"], len(file.metadata.get("tokenizer.ggml.tokens", ()))
    if count > rows:
        raise UserError(f"{place}: its tokenizer has {count:,} tokens and its embedding {rows:,} rows")
    return Layout(config, weights, tokenizer)


def _weights(file: GgufFile, family: Family, config: dict[str, Any], place: str) -> StoredWeights:
    switches = {
        *(() if config["tie_word_embeddings"] else ("untied",)),
        *(("bias",) if config.get("attention_bias") else ()),
    }
    letters = letters_of(family, config)
    blocks = family.size(config, "block_count")
    stored: dict[str, Stored] = {}
    known = {FREQUENCIES} if family.rotary else set()
    for name in switched(family.names, blocks, switches):
        _check(file, name, name.sizes(letters), place)
        known.add(name.gguf)
        stored |= _stored(file, name, config, name.sizes(letters))
    extra = sorted(file.tensors.keys() - known)
    if extra:
        more = f" and {len(extra) - _SHOWN:,} more" if len(extra) > _SHOWN else ""
        shown = ", ".join(extra[:_SHOWN])
        raise UserError(f"{place}: the architecture {family.name} has no tensor {shown}{more}")
    return StoredWeights(stored)


def _check(file: GgufFile, name: Named, sizes: tuple[int, ...], place: str) -> None:
    entry = file.tensors.get(name.gguf)
    if entry is None:
        raise UserError(f"{place} lacks the tensor {name.gguf}")
    expected = sizes[::-1] if name.change == "transposed" else sizes
    if entry.shape != expected:
        raise UserError(f"{place}: the tensor {name.gguf} is {entry.shape}; its metadata say {expected}")


def _stored(file: GgufFile, name: Named, config: dict[str, Any], sizes: tuple[int, ...]) -> dict[str, Stored]:
    if name.change == "experts":
        return {
            name.public.format(number): Stored(sizes[1:], partial(file.tensor, name.gguf, number))
            for number in range(sizes[0])
        }
    heads = heads_of(config, name.change) if name.change in ("query", "key") else 0
    return {name.public: Stored(sizes, partial(_changed, file, name, heads))}


def _changed(file: GgufFile, name: Named, heads: int) -> Tensor:
    tensor = file.tensor(name.gguf)
    if name.change == "transposed":
        return tensor.t().contiguous()
    return half_split(tensor, heads) if heads else tensor
