"""A model as the ecosystem writes it, in memory: what readers of foreign files give and writers take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """config: as config.json. weights: under their public names. tokenizer: file name -> its text, of
    `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` those that are known.
    """

    config: dict[str, Any]
    weights: Mapping[str, Tensor]
    tokenizer: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """A tensor that lies in a file: its shape, and how to read it."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class StoredWeights(Mapping[str, Tensor]):
    """Weights by name, each read and dequantized whenever it is asked for, so that memory holds one at a time."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> Tensor:
        return self._stored[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self._stored[name].shape


def shape_of(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of a weight; one that lies in a file is not read."""
    return weights.shape(name) if isinstance(weights, StoredWeights) else tuple(weights[name].shape)


def half_split(rows: Tensor, heads: int) -> Tensor:
    """Rows [heads * head_dim, …] whose rotary pairs are neighbours, with the pairs half a head apart instead.

    Llama as first published, llama2.c and GGUF's `llama` turn (0, 1), (2, 3) …; the public classes turn (0, n/2),
    (1, n/2 + 1) …
    """
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return pairs.transpose(1, 2).reshape(rows.shape)


def interleaved(rows: Tensor, heads: int) -> Tensor:
    """The inverse of `half_split`."""
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)
