"""A model directory of the ecosystem: config.json, weights in one file or in shards, tokenizer files.

Nothing in it is run: weights of the old pickled format are read as tensors only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.interop.layout import Layout

_WHOLE, _PICKLED = "model.safetensors", "pytorch_model.bin"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_LARGEST_TEXT = 1 << 28


def read_directory(place: Path) -> Layout:
    """The model in a directory; its weights are mapped, not read. Raises UserError for what is missing or broken."""
    config = read_json(place / "config.json")
    texts = {name: _text(place / name) for name in _TOKENIZER_FILES if (place / name).is_file()}
    if "tokenizer.json" not in texts and (place / "vocab.txt").is_file():
        texts["vocab.txt"] = _text(place / "vocab.txt")
    generation = place / "generation_config.json"
    ends = read_json(generation) if generation.is_file() else {}
    named = {
        key: ends[key]
        for key in ("bos_token_id", "eos_token_id", "pad_token_id")
        if ends.get(key) is not None
    }
    return Layout({**config, **named}, _weights(place), texts)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds {type(found).__name__}, not an object")
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise UserError(f"{path} is larger than {_LARGEST_TEXT >> 20} MB: no {path.name}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no {path.name} in {path.parent}: not a model's directory") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start:,}") from None


def _weights(place: Path) -> Mapping[str, Tensor]:
    """Whole or sharded, safetensors before pickles."""
    for whole in (_WHOLE, _PICKLED):
        if (place / whole).is_file():
            return _file(place / whole)
        index = place / f"{whole}.index.json"
        if index.is_file():
            return _shards(index)
    raise UserError(f"there are no weights in {place}: no {_WHOLE}, no {_PICKLED}, no index of shards")


def _shards(index: Path) -> dict[str, Tensor]:
    wanted = read_json(index).get("weight_map")
    if not isinstance(wanted, dict) or not all(isinstance(name, str) for name in wanted.values()):
        raise UserError(f"{index} has no weight_map of tensors to files")
    found: dict[str, Tensor] = {}
    for name in sorted(set(wanted.values())):
        if Path(name).name != name:
            raise UserError(f"{index} names {name!r}, which is not a file beside it")
        if not (index.parent / name).is_file():
            raise UserError(f"{index} names {name}, which is not there")
        tensors = _file(index.parent / name)
        expected = {tensor for tensor, file in wanted.items() if file == name}
        if tensors.keys() != expected:
            odd = sorted(tensors.keys() ^ expected)[0]
            said = "is missing" if odd in expected else "is not in the index"
            raise UserError(f"{index.parent / name} does not match {index.name}: {odd} {said}")
        found |= tensors
    return found


def _file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from None
    except Exception as error:
        # the unpickler refuses anything but tensors with an error of its own
        raise UserError(
            f"{path} holds more than tensors, and code of others is not run: {type(error).__name__}"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{path} holds no tensors by name")
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}
