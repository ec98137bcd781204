"""Sizes by name: published counts to the parameter, small ones near their names."""

from __future__ import annotations

import re

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.family.architecture import architecture_of
from chatwright.models.family.qwen3 import QWEN3
from chatwright.models.presets import model_options

PUBLISHED = {
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
}


def parameters(name: str, vocab_size: int | None = None) -> int:
    with torch.device("meta"):
        options = model_options({"name": name}, vocab_size)
        return sum(p.numel() for p in architecture_of(options).root(options).parameters())


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_shapes_have_their_published_size(name: str, count: int) -> None:
    assert parameters(name) == count


@pytest.mark.parametrize("name", [name for name in QWEN3.presets if name not in PUBLISHED])
def test_small_sizes_are_near_their_names(name: str) -> None:
    found = re.fullmatch(r"qwen3-(\d+)m", name)
    assert found
    assert 0.7 < parameters(name, vocab_size=4096) / (1e6 * int(found[1])) < 1.6


def test_sizes_grow_with_their_names() -> None:
    counts = [parameters(name) for name in QWEN3.presets]
    assert counts == sorted(counts)


def test_fields_win_over_the_preset_and_the_tokenizer_over_both() -> None:
    shape = model_options({"name": "qwen3-5m", "layers": "4", "vocab_size": 9}, vocab_size=500)
    assert (shape.layers, shape.width, shape.vocab_size) == (4, 256, 500)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "qwen3-5"}, r"unknown model 'qwen3-5'; did you mean 'qwen3-50?m'"),
        ({"name": "qwen3-5m", "layer": 3}, "model has no option 'layer'; did you mean 'layers'"),
        ({"layers": "many"}, "layers=many is not a whole number"),
    ],
)
def test_unknown_sizes_and_fields_are_refused(model: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        model_options(model)
