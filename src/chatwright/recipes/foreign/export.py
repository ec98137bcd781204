"""`export`: a run for other programs, as a Hugging Face directory or as one GGUF file."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file

from chatwright.config import dumps, option
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.models.interop.directory import read_directory, read_json
from chatwright.models.interop.files import WEIGHTS
from chatwright.models.interop.gguf_out import write_gguf
from chatwright.models.interop.layout import Layout
from chatwright.progress import say
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.special import ENDOFTEXT

_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_PUBLIC = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class ExportOptions:
    """In which form."""

    to: Literal["hf", "gguf"] = option(
        "hf", "a Hugging Face directory, or a GGUF file for llama.cpp and its kin"
    )
    type: Literal["auto", "f32", "bf16", "f16", "q8_0", "q4_0"] = option(
        "auto", "of the weights; auto: f32 in a directory, q8_0 in a file; quantized ones in GGUF only"
    )


@verb(ExportOptions)
def export(run: Place, out: str | Path, options: ExportOptions) -> dict[str, Any]:
    """Write a run for other programs: a directory that `transformers`, vLLM and SGLang load, or a GGUF file with tokenizer and chat template."""
    source = Run.open(run) if not isinstance(run, Run) else run
    if not (source.directory / WEIGHTS).is_file():
        raise UserError(f"{source.directory} holds no model but a run of {source.verb!r}")
    place = Path(out)
    if options.to == "gguf":
        return {
            "run": str(source),
            **_gguf(source, place, "q8_0" if options.type == "auto" else options.type),
        }
    kind = "f32" if options.type == "auto" else options.type
    if kind not in _TYPES:
        raise UserError(f"type={kind} is a type of GGUF; add to=gguf, or give f32, bf16 or f16")
    return {"run": str(source), **_directory(source, place, kind)}


def _gguf(source: Run, place: Path, kind: str) -> dict[str, Any]:
    if place.is_dir():
        raise UserError(f"{place} is a directory; -o needs a file name, for example {place / 'model.gguf'}")
    written = write_gguf(_beginning_as_here(source), place, kind, source.directory.name)
    size = place.stat().st_size
    rounded = "" if kind == "f32" else ", weights rounded to that; type=f32 keeps them"
    say(f"  {place}: {size / 1e6:,.1f} MB, {kind}{rounded}")
    return {"file": str(place), "bytes": size, "type": kind, "written": vars(written) if written else {}}


def _beginning_as_here(source: Run) -> Layout:
    """The run's layout; a text of a base model of ours begins with the token that begins a document, a chat does not."""
    layout, name = read_directory(source.directory), "tokenizer_config.json"
    if source.verb == "import":
        return layout
    config = {**json.loads(layout.tokenizer[name]), "add_bos_token": source.verb == "pretrain"}
    config.setdefault("bos_token", ENDOFTEXT)
    return Layout(layout.config, layout.weights, {**layout.tokenizer, name: json.dumps(config)})


def _directory(source: Run, place: Path, kind: str) -> dict[str, Any]:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place} is there already; give -o a new or empty directory")
    place.mkdir(parents=True, exist_ok=True)
    for name in _PUBLIC:
        if (source.directory / name).is_file():
            shutil.copyfile(source.directory / name, place / name)
    dtype = _TYPES[kind]
    weights = load_file(source.directory / WEIGHTS)
    aside = place / f"{WEIGHTS}.part"
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, aside, {"format": "pt"})
    aside.rename(place / WEIGHTS)
    config = read_json(place / "config.json")
    atomic_write(place / "config.json", dumps({**config, "dtype": str(dtype).removeprefix("torch.")}))
    size = (place / WEIGHTS).stat().st_size
    say(f"  {place}: {size / 1e6:,.1f} MB of weights, {kind}")
    return {"directory": str(place), "bytes": size, "type": kind}
