"""A model as a directory: config.json, model.safetensors, generation_config.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.interop import qwen3

WEIGHTS = "model.safetensors"


def write_config(directory: Path, options: DecoderOptions, bos: int, eos: Sequence[int], pad: int) -> None:
    """Write config.json and generation_config.json; `eos` holds every token that ends a text or a turn."""
    tokens = {"bos_token_id": bos, "eos_token_id": eos[0], "pad_token_id": pad}
    atomic_write(directory / "config.json", dumps(qwen3.public_config(options, tokens)))
    generation = {"bos_token_id": bos, "eos_token_id": list(eos), "pad_token_id": pad, "do_sample": True}
    atomic_write(directory / "generation_config.json", dumps(generation))


def read_config(directory: Path) -> DecoderOptions:
    """The shape of the model in `directory`."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no model in {directory} (no config.json)") from None
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no model's config but a {type(config).__name__}")
    return qwen3.options_of(config, str(path))


def load_model(directory: Path, device: torch.device | str = "cpu") -> Decoder:
    """The model of a run, in evaluation mode, float32. Built on the meta device, so nothing is drawn in vain."""
    options = read_config(directory)
    model = empty_model(options, device)
    load_weights(model, directory)
    return model.eval()


def empty_model(options: DecoderOptions, device: torch.device | str) -> Decoder:
    """A model whose weights are not set yet."""
    with torch.device("meta"):
        model = Decoder(options)
    return model.to_empty(device=device)


def load_weights(model: Decoder, directory: Path) -> None:
    """Read model.safetensors into the model."""
    path = directory / WEIGHTS
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise UserError(f"there are no weights in {directory} (no {WEIGHTS})") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    with torch.no_grad():
        qwen3.load_public_weights(model, weights, str(path))
