"""A model as a directory: config.json, model.safetensors, generation_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.family.architecture import architecture_of, public_architecture
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import HeadOptions
from chatwright.models.interop import weights as named
from chatwright.models.interop.heads import read_heads
from chatwright.models.root import Root
from chatwright.models.scored import ScoredDecoder
from chatwright.runs import Run

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class EndTokens:
    """The tokens that begin, end and pad a text; `eos` holds every one that ends a text or a turn."""

    bos: int
    eos: Sequence[int]
    pad: int

    @property
    def public(self) -> dict[str, int | None]:
        return {"bos_token_id": self.bos, "eos_token_id": self.eos[0], "pad_token_id": self.pad}


def write_config(
    directory: Path,
    options: Any,
    tokens: EndTokens,
    heads: Mapping[str, HeadOptions] = MappingProxyType({}),
) -> None:
    """Write config.json and generation_config.json of a language model; `heads`: those of `Headed`."""
    atomic_write(directory / "config.json", dumps(named.public_config(options, tokens.public, heads)))
    generation = {**tokens.public, "eos_token_id": list(tokens.eos), "do_sample": True}
    atomic_write(directory / "generation_config.json", dumps(generation))


def write_reward_config(
    directory: Path, model: ScoredDecoder, tokens: EndTokens, mean: float = 0.0, deviation: float = 1.0
) -> None:
    """Write the config.json of a reward model; mean and deviation are those of its raw scores of reference replies."""
    config = named.public_reward_config(model, tokens.public)
    scale = {"reward_mean": mean, "reward_deviation": deviation}
    atomic_write(directory / "config.json", dumps({**config, **scale}))


def read_options(directory: Path) -> Any:
    """The options of the model in `directory`, of any architecture."""
    config, place = _config(directory), str(directory / "config.json")
    architecture = public_architecture(config, place)
    if named.reward_heads(config, architecture):
        raise UserError(f"{directory} holds a reward model, which gives scores and writes no text")
    options, fitted = architecture.public.options(config, place), architecture.public.fitted
    has_weights = fitted is not None and (directory / WEIGHTS).is_file()
    return fitted(options, _weights(directory).keys()) if fitted and has_weights else options


def read_config(directory: Path) -> DecoderOptions:
    """The shape of the language model in `directory`: of a decoder, which writes text."""
    options = read_options(directory)
    if not isinstance(options, DecoderOptions):
        name = type(options).architecture
        raise UserError(f"{directory} holds a model of the architecture {name}; this takes a decoder")
    return options


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no model in {directory} (no config.json)") from None
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no model's config but a {type(config).__name__}")
    return config


def load_model(directory: Path, device: torch.device | str = "cpu") -> Decoder:
    """The model of a run, in evaluation mode, float32. Built on the meta device, so nothing is drawn in vain."""
    options = read_config(directory)
    model = empty_model(options, device)
    load_weights(model, directory)
    return model.eval()


def load_reward_model(
    directory: Path, device: torch.device | str = "cpu"
) -> tuple[ScoredDecoder, float, float]:
    """The reward model of a run, in evaluation mode, and the mean and deviation of its raw scores."""
    config = _config(directory)
    place = str(directory / "config.json")
    architecture = public_architecture(config, place)
    heads = named.reward_heads(config, architecture)
    if not heads:
        raise UserError(f"{directory} holds no reward model; make one with `chatwright reward`")
    options = architecture.public.options(config, place)
    model = empty_scored(options, heads, device, confidence=named.has_confidence(config))
    with torch.no_grad():
        named.load_public_scores(model, _weights(directory), str(directory / WEIGHTS))
    return model.eval(), float(config.get("reward_mean", 0.0)), float(config.get("reward_deviation", 1.0))


def load_root(directory: Path, device: torch.device | str = "cpu") -> Root:
    """The model of a run, of any architecture, in evaluation mode, float32."""
    config, place = _config(directory), str(directory / "config.json")
    heads = read_heads(config, public_architecture(config, place).public, place)
    model = empty_root(read_options(directory), device, heads)
    load_weights(model, directory)
    return model.eval()


def empty_root(
    options: Any, device: torch.device | str, heads: Mapping[str, HeadOptions] = MappingProxyType({})
) -> Root:
    """A model of any architecture whose weights are not set yet, under `heads` where there are such."""
    with torch.device("meta"):
        model = architecture_of(options).root(options)
        model = Headed(model, heads) if heads else model
    return model.to_empty(device=device)


def empty_model(options: DecoderOptions, device: torch.device | str) -> Decoder:
    """A decoder whose weights are not set yet."""
    model = empty_root(options, device)
    assert isinstance(model, Decoder)
    return model


def empty_scored(
    options: DecoderOptions,
    numbers: int,
    device: torch.device | str,
    language: bool = False,
    confidence: bool = False,
) -> ScoredDecoder:
    """A scored decoder whose weights are not set yet."""
    with torch.device("meta"):
        model = ScoredDecoder(options, numbers, language, confidence)
    return model.to_empty(device=device)


def model_directory(run: str | Path | Run) -> Path:
    """The folder of a finished run, or of a model in the public layout; refused where there are no weights."""
    if not isinstance(run, str | Path | Run):
        raise UserError(f"{run!r} is no run; give the folder of a model, or what a verb returned")
    directory = run.directory if isinstance(run, Run) else Path(run)
    if not (directory / WEIGHTS).is_file():
        Run.open(directory)
    return directory


def load_weights(model: Root, directory: Path) -> None:
    """Read model.safetensors into the model."""
    with torch.no_grad():
        named.load_public_weights(model, _weights(directory), str(directory / WEIGHTS))


def load_trunk(model: ScoredDecoder, directory: Path) -> None:
    """Read a language model's or a reward model's weights into the trunk, without its head."""
    writes = model.language or model.confidence is not None
    weights = {
        name: weight
        for name, weight in _weights(directory).items()
        if name != named.SCORE and (writes or name != "lm_head.weight")
    }
    with torch.no_grad():
        named.load_public_weights(model.trunk, weights, str(directory / WEIGHTS))


def _weights(directory: Path) -> dict[str, Tensor]:
    path = directory / WEIGHTS
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"there are no weights in {directory} (no {WEIGHTS})") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
