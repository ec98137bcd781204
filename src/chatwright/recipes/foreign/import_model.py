"""`import`: a model of others as a run, to be fine-tuned, aligned, measured and served like one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from chatwright import runs
from chatwright.config import dumps, option
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.models.family.architecture import PublicFormat, public_architecture
from chatwright.models.headed import Headed
from chatwright.models.interop.directory import read_directory
from chatwright.models.interop.files import WEIGHTS, empty_root
from chatwright.models.interop.gguf_in import read_gguf
from chatwright.models.interop.heads import read_heads
from chatwright.models.interop.layout import Layout
from chatwright.models.interop.llama2c import read_llama2c
from chatwright.models.interop.weights import load_public_weights, public_config, public_weights
from chatwright.models.root import Root
from chatwright.progress import say
from chatwright.recipes.verb import verb
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.wordpiece import tokenizer_of_words

_GGUF = b"GGUF"
_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class ImportOptions:
    """What a file does not tell by itself."""

    tokenizer: str | None = option(
        None,
        "llama2.c: the tokenizer.bin that belongs to the checkpoint; else a folder with a tokenizer.json",
    )


@verb(ImportOptions)
def import_model(source: str | Path, out: str | Path, options: ImportOptions) -> Run:
    """Bring a model in: a Hugging Face directory, a GGUF file (quantized ones too), or a checkpoint of llama2.c."""
    place = Path(source)
    if not place.exists():
        raise UserError(f"there is no model at {place}")
    inputs: list[str | Path] = [place, *([options.tokenizer] if options.tokenizer else [])]
    with runs.start("import", out, options, {}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        layout = _read(place, options.tokenizer)
        model = _model_of(layout, place)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        _write_tokenizer(run.directory, layout, model, place)
        _write_model(run.directory, model, layout)
        name = type(model.options).architecture
        say(f"  {name}, {parameters:,} parameters, {model.options.vocab_size:,} tokens")
        content = [WEIGHTS, "config.json", "tokenizer.json"]
        return run.finish(content, architecture=name, parameters=parameters, chats=_has_template(layout))


def _read(place: Path, tokenizer: str | None) -> Layout:
    if place.is_dir():
        layout = read_directory(place)
    elif _begins_with(place, _GGUF):
        layout = read_gguf(place)
    elif place.suffix == ".bin":
        return read_llama2c(place, tokenizer)
    else:
        raise UserError(f"{place} is neither a model's directory, nor a GGUF file, nor a .bin of llama2.c")
    if tokenizer is None:
        return layout
    texts = {path.name: path.read_text(encoding="utf-8") for path in _tokenizer_files(Path(tokenizer))}
    return Layout(layout.config, layout.weights, texts)


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _tokenizer_files(folder: Path) -> list[Path]:
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"tokenizer={folder} holds no tokenizer.json")
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    return [folder / name for name in names if (folder / name).is_file()]


def _model_of(layout: Layout, place: Path) -> Root:
    """The model with its weights set, float32; every tensor that is missing, unknown or misshapen is named."""
    architecture = public_architecture(layout.config, str(place))
    options = _options(architecture.public, layout, str(place))
    heads = read_heads(layout.config, architecture.public, str(place))
    model = empty_root(options, "cpu", heads)
    with torch.no_grad():
        load_public_weights(model, _numbers(layout.weights, place), str(place))
    return model.eval()


def _options(public: PublicFormat, layout: Layout, place: str) -> Any:
    """The options of a config; what is of the wrong type in it, or asks for more than the file holds, is refused."""
    try:
        options = public.options(layout.config, place)
        options = public.fitted(options, layout.weights.keys()) if public.fitted else options
        layers = int(getattr(options, "layers", 0))
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{place}: a field of config.json has a value of the wrong kind ({error})") from None
    if layers > len(layout.weights):
        raise UserError(f"{place}: config.json asks for {layers:,} layers of {len(layout.weights):,} tensors")
    return options


def _numbers(weights: Mapping[str, Tensor], place: Path) -> Mapping[str, Tensor]:
    """The weights, each of which is of floating point and finite."""
    found = dict(weights)
    for name, tensor in found.items():
        is_buffer = name.endswith(("position_ids", ".attn.bias", ".attn.masked_bias"))
        if not tensor.is_floating_point() and not is_buffer:
            raise UserError(f"{place}: {name} is of type {tensor.dtype}; weights are floating point")
        if tensor.is_floating_point() and not is_buffer and not bool(tensor.isfinite().all()):
            raise UserError(f"{place}: {name} holds numbers that are not finite; the file is damaged")
    return found


def _write_tokenizer(directory: Path, layout: Layout, model: Root, place: Path) -> None:
    texts = dict(layout.tokenizer)
    if "vocab.txt" in texts:
        texts["tokenizer.json"] = tokenizer_of_words(
            texts.pop("vocab.txt"), texts.get("tokenizer_config.json")
        )
    if "tokenizer.json" not in texts:
        raise UserError(
            f"{place} has no tokenizer that can be read (tokenizer.json); give tokenizer=FOLDER or FILE"
        )
    for name, text in texts.items():
        atomic_write(directory / name, text)
    vocabulary = Tokenizer.load(directory)
    if vocabulary.vocab_size > model.options.vocab_size:
        raise UserError(
            f"the tokenizer of {place} has {vocabulary.vocab_size:,} tokens, its model has {model.options.vocab_size:,}; "
            "they do not belong together"
        )


def _write_model(directory: Path, model: Root, layout: Layout) -> None:
    tokens = {name: layout.config.get(name) for name in _ENDS}
    heads = model.head_options if isinstance(model, Headed) else {}
    atomic_write(directory / "config.json", dumps(public_config(model.options, _first_ends(tokens), heads)))
    generation = {name: value for name, value in tokens.items() if value is not None}
    if generation:
        atomic_write(directory / "generation_config.json", dumps(generation))
    save_file(
        {name: tensor.contiguous() for name, tensor in public_weights(model).items()},
        directory / WEIGHTS,
        {"format": "pt"},
    )


def _first_ends(tokens: Mapping[str, Any]) -> dict[str, int | None]:
    return {name: value[0] if isinstance(value, list) else value for name, value in tokens.items()}


def _has_template(layout: Layout) -> bool:
    is_named = "chat_template" in layout.tokenizer.get("tokenizer_config.json", "")
    return "chat_template.jinja" in layout.tokenizer or is_named
