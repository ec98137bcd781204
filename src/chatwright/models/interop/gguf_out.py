"""A public directory in memory as a GGUF file that llama.cpp runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter
from gguf.constants import (
    GGML_QUANT_SIZES,
    GGML_QUANT_VERSION,
    GGUF_DEFAULT_ALIGNMENT,
    GGMLQuantizationType,
    GGUFValueType,
    LlamaFileType,
)
from gguf.quants import quantize
from torch import Tensor

from chatwright.errors import UserError, did_you_mean
from chatwright.files import aside_of, sync_directory, sync_file, writing
from chatwright.models.interop.gguf_config import (
    Family,
    completed,
    family_of_config,
    heads_of,
    letters_of,
    write_metadata,
)
from chatwright.models.interop.gguf_rope import FREQUENCIES
from chatwright.models.interop.gguf_tensors import Named, switched
from chatwright.models.interop.layout import Layout, interleaved
from chatwright.tokenization.convert import gguf_from_files

_PLACE = "the model's config.json"
_F32, _F16 = GGMLQuantizationType.F32, GGMLQuantizationType.F16
_HALF = 65504.0  # the largest float16: of q8_0 and q4_0 it bounds the scale


@dataclass(frozen=True)
class _Kind:
    """A type of file. largest: the largest weight it can hold."""

    tensors: GGMLQuantizationType
    file: LlamaFileType
    largest: float


KINDS = {
    "f32": _Kind(_F32, LlamaFileType.ALL_F32, math.inf),
    "bf16": _Kind(GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16, 3.38e38),
    "f16": _Kind(_F16, LlamaFileType.MOSTLY_F16, _HALF),
    "q8_0": _Kind(GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0, 127 * _HALF),
    "q4_0": _Kind(GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0, 8 * _HALF),
}
# What llama.cpp adds to float32 or routes by, and therefore keeps in it.
_ALWAYS_F32 = re.compile(r"position_embd\.weight|token_types\.weight|blk\.\d+\.ffn_gate_inp\.weight")


@dataclass(frozen=True)
class Written:
    """What was written. wider: tensors in f16 because their rows are no multiple of a block; dropped: weights that this
    format has no place for (a pooler, buffers)."""

    tensors: int
    size: int
    wider: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class _Planned:
    """A tensor to write. public: where its values come from; none for `rope_freqs.weight`."""

    gguf: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    named: Named | None

    @property
    def size(self) -> int:
        block, size = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // block * size


def write_gguf(layout: Layout, path: str | Path, kind: str = "f16", name: str = "chatwright") -> Written:
    """Write a model and its tokenizer as one file, whole or not at all; one tensor is in memory at a time.

    kind: a key of `KINDS`, the type of matrices; norms, biases and what routes stay f32. Raises `UserError` for an
    architecture, an option or a tokenizer that GGUF has no place for, and for weights that do not fit the config.
    """
    if kind not in KINDS:
        raise UserError(f"GGUF of type {kind!r} is not written{did_you_mean(kind, KINDS)}")
    family = family_of_config(layout.config, _PLACE)
    config = completed(family, layout.config, _PLACE)
    metadata, factors = write_metadata(family, config, _PLACE)
    metadata |= gguf_from_files(layout.tokenizer, config, _PLACE)
    weights = _prefixed(layout.weights, family)
    planned, dropped = _plan(family, config, weights, KINDS[kind])
    if factors is not None:
        planned.append(_Planned(FREQUENCIES, tuple(factors.shape), _F32, None))
    target = Path(path)
    aside = aside_of(target)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_header(aside, family.name, name, KINDS[kind], metadata, planned)
            _append(aside, planned, layout.weights, weights, config, factors)
            sync_file(aside)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        sync_directory(target.parent)
    wider = tuple(one.gguf for one in planned if one.kind == _F16 and kind not in ("f16", "f32", "bf16"))
    return Written(len(planned), target.stat().st_size, wider, dropped)


def _prefixed(weights: Mapping[str, Tensor], family: Family) -> dict[str, str]:
    """Full public name -> the name in `weights`, which may lack the architecture's prefix or have BERT's."""
    result = {}
    bare = family.prefix and not any(name.startswith(family.prefix) for name in weights)
    for name in weights:
        inner = name.removeprefix("bert.") if family.name == "bert" else name
        result[family.prefix + inner if bare and not inner.startswith("lm_head.") else inner] = name
    return result


def _plan(
    family: Family, config: Mapping[str, Any], weights: Mapping[str, str], kind: _Kind
) -> tuple[list[_Planned], tuple[str, ...]]:
    switches = {
        *(() if config["tie_word_embeddings"] else ("untied",)),
        *(("bias",) if config.get("attention_bias") else ()),
    }
    letters = letters_of(family, config)
    blocks = family.size(config, "block_count")
    planned = []
    left = set(weights)
    for named in switched(family.names, blocks, switches):
        shape = named.sizes(letters)
        for public in _publics(named, shape):
            if public not in weights:
                raise UserError(f"the model lacks the weight {public}, which its config.json asks for")
            left.discard(public)
        ordered = shape[::-1] if named.change == "transposed" else shape
        planned.append(_Planned(named.gguf, ordered, _type_of(named.gguf, ordered, kind), named))
    unwanted = re.compile(
        "|".join((*family.dropped, *(() if "untied" in switches else (r"lm_head\.weight",)))) or "(?!)"
    )
    if unknown := sorted(name for name in left if not unwanted.fullmatch(name)):
        raise UserError(f"the model has the weight {unknown[0]}, which GGUF's {family.name} has no place for")
    return planned, tuple(sorted(weights[name] for name in left))


def _publics(named: Named, shape: tuple[int, ...]) -> list[str]:
    experts = named.change == "experts"
    return [named.public.format(number) for number in range(shape[0])] if experts else [named.public]


def _type_of(name: str, shape: tuple[int, ...], kind: _Kind) -> GGMLQuantizationType:
    if len(shape) == 1 or _ALWAYS_F32.fullmatch(name):
        return _F32
    block, _ = GGML_QUANT_SIZES[kind.tensors]
    return _F16 if shape[-1] % block else kind.tensors


def _write_header(
    path: Path,
    architecture: str,
    name: str,
    kind: _Kind,
    metadata: Mapping[str, Any],
    planned: list[_Planned],
) -> None:
    writer = GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_string("general.name", name)
    writer.add_file_type(kind.file)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_key_value(key, value, GGUFValueType.get_type(value))
    for one in planned:
        writer.add_tensor_info(one.gguf, one.shape, np.dtype(np.float32), one.size, raw_dtype=one.kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _append(
    path: Path,
    planned: list[_Planned],
    stored: Mapping[str, Tensor],
    names: Mapping[str, str],
    config: Mapping[str, Any],
    factors: Tensor | None,
) -> None:
    """Each tensor after the header, padded to the alignment.

    Not by `GGUFWriter`: it writes arrays with `tofile`, which hides why a disk refused.
    """
    with path.open("ab") as file:
        for one in planned:
            file.write(bytes(-file.tell() % GGUF_DEFAULT_ALIGNMENT))
            if one.named is None:
                assert factors is not None
                tensor = factors
            else:
                tensor = _gathered(one.named, one.shape, stored, names, config)
            file.write(_encoded(tensor, one).data)
        file.write(bytes(-file.tell() % GGUF_DEFAULT_ALIGNMENT))


def _gathered(
    named: Named,
    shape: tuple[int, ...],
    stored: Mapping[str, Tensor],
    names: Mapping[str, str],
    config: Mapping[str, Any],
) -> Tensor:
    """The tensor as GGUF lays it out, float32."""
    each = shape[1:] if named.change == "experts" else shape
    public = each[::-1] if named.change == "transposed" else each
    parts = []
    for name in _publics(named, shape):
        tensor = stored[names[name]].detach()
        if tuple(tensor.shape) != public:
            raise UserError(f"the weight {name} is {tuple(tensor.shape)}; its config.json says {public}")
        parts.append(tensor.float())
    if named.change == "experts":
        return torch.stack(parts)
    if named.change == "transposed":
        return parts[0].t()
    return interleaved(parts[0], heads_of(config, named.change)) if named.change else parts[0]


def _encoded(tensor: Tensor, one: _Planned) -> np.ndarray[Any, Any]:
    largest = float(tensor.abs().max())
    limit = next(kind.largest for kind in KINDS.values() if kind.tensors == one.kind)
    if not (largest <= limit and largest < math.inf):  # also where it is NaN
        what = f"up to {largest:g}" if largest < math.inf else "that are no finite numbers"
        raise UserError(f"{one.gguf} holds values {what}; {one.kind.name} cannot hold them")
    array = np.ascontiguousarray(tensor.cpu().numpy())
    with np.errstate(all="ignore"):
        encoded = np.ascontiguousarray(quantize(array, one.kind)).view(np.uint8)
    assert encoded.nbytes == one.size
    return encoded
