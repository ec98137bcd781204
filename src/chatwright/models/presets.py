"""Sizes by name, of every architecture: `qwen3-5m`, `gpt2-small`, `bert-base` …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.config import build
from chatwright.errors import UserError, did_you_mean
from chatwright.models.family.architecture import Architecture, architectures

DEFAULT = "qwen3-5m"


def presets() -> dict[str, Architecture]:
    """The architecture of every size's name."""
    return {name: member for member in architectures() for name in member.presets}


def model_options(model: Mapping[str, Any], vocab_size: int | None = None) -> Any:
    """The options for `model=qwen3-5m` or `{"name": "qwen3-5m", "layers": 4}`; unnamed fields come from the preset.

    `vocab_size`: the tokenizer's, which always wins over the preset's.
    """
    fields = dict(model)
    name, known = str(fields.pop("name", DEFAULT)), presets()
    if name not in known:
        raise UserError(f"unknown model {name!r}{did_you_mean(name, known)}")
    if vocab_size is not None:
        fields["vocab_size"] = vocab_size
    return build(known[name].options, {**known[name].presets[name], **fields}, "model")
