"""Parameter counts of sizes by name, without memory."""

from __future__ import annotations

import re

import torch

from chatwright.models.family.architecture import architecture_of
from chatwright.models.presets import model_options, presets


def parameters(name: str, vocab_size: int | None = None) -> int:
    with torch.device("meta"):
        options = model_options({"name": name}, vocab_size)
        return sum(p.numel() for p in architecture_of(options).root(options).parameters())


def assert_small_sizes_are_near_their_names(architecture: str) -> None:
    """`gpt2-5m` has about 5 million parameters over 4,096 tokens, and sizes grow with their names."""
    found = [
        (match, parameters(name, vocab_size=4096))
        for name, member in presets().items()
        if member.name == architecture and (match := re.fullmatch(rf"{architecture}-(\d+)m", name))
    ]
    small = [(int(match[1]), count) for match, count in found if int(match[1]) <= 50]
    assert [size for size, _ in small] == [1, 5, 15, 50]
    for size, count in small:
        assert 0.7 < count / (1e6 * size) < 1.6, size
