"""llama2.c's checkpoints (Karpathy 2023), in the format without a version: seven numbers, then float32 weights."""

from __future__ import annotations

import os
import struct
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.interop.layout import Layout, Stored, StoredWeights, half_split
from chatwright.tokenization.convert import files_from_llama2c

_HEADER = struct.Struct("<7i")
_VERSIONED = 0x616B3432  # "ak42"
_LARGEST = 1 << 24


def read_llama2c(path: str | Path, tokenizer: str | Path | None = None) -> Layout:
    """A checkpoint of llama2.c, and the tokenizer file that belongs to it, as a `llama` directory in memory.

    Raises `UserError` for a file whose size is not what its header says, and for a tokenizer of another size.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size < _HEADER.size:
            raise UserError(f"{path} is not a checkpoint of llama2.c: it has only {size} bytes")
        with path.open("rb") as file:
            header = _HEADER.unpack(file.read(_HEADER.size))
        # copy on write: PyTorch wants arrays that may be written to, and the file stays as it is
        data: NDArray[np.float32] = np.memmap(
            path, "<f4", mode="c", offset=_HEADER.size, shape=(size - _HEADER.size) // 4
        )
    except OSError as error:
        raise UserError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    width, hidden, layers, heads, kv_heads, rows, context = header
    config = _config(path, header)
    tied, rows = rows > 0, abs(rows)
    shapes = _shapes(width, hidden, layers, width // heads * kv_heads, rows, context, width // heads, tied)
    expected = _HEADER.size + 4 * sum(map(prod, shapes.values()))
    if size != expected:
        raise UserError(
            f"{path} has {size:,} bytes, and its header asks for {expected:,}; it is cut short or no llama2.c"
        )
    weights = _weights(data, shapes, {"query": heads, "key": kv_heads})
    files = files_from_llama2c(tokenizer, rows) if tokenizer is not None else {}
    return Layout(config, weights, files)


def _config(path: Path, header: tuple[int, ...]) -> dict[str, Any]:
    width, hidden, layers, heads, kv_heads, rows, context = header
    if width & 0xFFFFFFFF == _VERSIONED:
        raise UserError(f"{path} is of llama2.c's version {hidden}; export it again with --version 0")
    sizes = (width, hidden, layers, heads, kv_heads, abs(rows), context)
    fits = all(0 < size < _LARGEST for size in sizes) and not width % heads and not heads % kv_heads
    if not fits or width // heads % 2:
        raise UserError(
            f"{path} is not a checkpoint of llama2.c: its header is {', '.join(map(str, header))}"
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": abs(rows),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "intermediate_size": hidden,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": rows > 0,
        "dtype": "float32",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _shapes(
    width: int, hidden: int, layers: int, keys: int, rows: int, context: int, head_dim: int, tied: bool
) -> dict[str, tuple[int, ...]]:
    """What follows the header, in its order: public name -> shape; the tensors of all blocks lie together."""
    block = "model.layers.{}"
    shapes = {
        "model.embed_tokens.weight": (rows, width),
        f"{block}.input_layernorm.weight": (layers, width),
        f"{block}.self_attn.q_proj.weight": (layers, width, width),
        f"{block}.self_attn.k_proj.weight": (layers, keys, width),
        f"{block}.self_attn.v_proj.weight": (layers, keys, width),
        f"{block}.self_attn.o_proj.weight": (layers, width, width),
        f"{block}.post_attention_layernorm.weight": (layers, width),
        f"{block}.mlp.gate_proj.weight": (layers, hidden, width),
        f"{block}.mlp.down_proj.weight": (layers, width, hidden),
        f"{block}.mlp.up_proj.weight": (layers, hidden, width),
        "model.norm.weight": (width,),
        "cosines": (context, head_dim // 2),
        "sines": (context, head_dim // 2),
    }
    return shapes if tied else {**shapes, "lm_head.weight": (rows, width)}


def _weights(
    data: NDArray[np.float32], shapes: dict[str, tuple[int, ...]], heads: dict[str, int]
) -> StoredWeights:
    stored: dict[str, Stored] = {}
    start = 0
    for name, shape in shapes.items():
        if "{}" in name:
            turned = heads["query"] if ".q_proj." in name else heads["key"] if ".k_proj." in name else 0
            for block in range(shape[0]):
                at = start + block * prod(shape[1:])
                stored[name.format(block)] = Stored(shape[1:], partial(_read, data, at, shape[1:], turned))
        elif name not in ("cosines", "sines"):
            stored[name] = Stored(shape, partial(_read, data, start, shape, 0))
        start += prod(shape)
    return StoredWeights(stored)


def _read(data: NDArray[np.float32], start: int, shape: tuple[int, ...], heads: int) -> Tensor:
    tensor = torch.from_numpy(data[start : start + prod(shape)]).view(shape)
    return half_split(tensor, heads) if heads else tensor
