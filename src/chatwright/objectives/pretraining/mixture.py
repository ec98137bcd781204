"""A mixture of objectives over one trunk, each with its weight, its own rows and its own attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from chatwright.config import build, option
from chatwright.data.packing import Rows
from chatwright.data.pretraining.mixed import Mixed, MixedRows
from chatwright.data.records import Document
from chatwright.errors import UserError
from chatwright.models.heads.labels import HeadOptions
from chatwright.models.root import Root
from chatwright.objectives.contract import Batch, Objective, Roots
from chatwright.objectives.pretraining.making import Facts, rows_of, single
from chatwright.objectives.pretraining.text import BothWays, Text, example_headed, read

Passed = dict[str, Any]


@dataclass(frozen=True)
class Weight:
    """A term's weight, constant or on a line from `weight` to `last_weight` over the first `ramp` steps."""

    weight: float = option(1.0, "weight of the objective, at first")
    last_weight: float | None = option(None, "weight after `ramp` steps; default: it stays")
    ramp: int = option(0, "steps over which the weight goes to last_weight")

    def __post_init__(self) -> None:
        if self.weight < 0 or (self.last_weight or 0) < 0:
            given = {"weight": self.weight, "last_weight": self.last_weight}
            said = " and ".join(f"{name}={value:g}" for name, value in given.items() if (value or 0) < 0)
            raise UserError(f"{said} must be 0 or more")
        if (self.ramp > 0) != (self.last_weight is not None):
            raise UserError(f"ramp={self.ramp} and last_weight={self.last_weight} belong together; give both")

    def at(self, step: int) -> float:
        if self.last_weight is None:
            return self.weight
        done = min(1.0, step / self.ramp)
        return (1 - done) * self.weight + done * self.last_weight


_WEIGHT = ("weight", "last_weight", "ramp")


@dataclass(frozen=True)
class MixtureOptions:
    """Which objectives, each with a weight and its own options."""

    terms: dict[str, Any] = option(
        {"causal": {}, "masked": {}, "next_sentence": {}},
        "objectives by name, each with weight, last_weight, ramp and its own options",
    )

    def __post_init__(self) -> None:
        if not self.terms:
            raise UserError("a mixture needs at least one objective")


class Mixture:
    """The weighted sum of any set of objectives that share a trunk (Caruana 1997; Dong et al. 2019, UniLM, for one trunk
    read left to right for the next token and both ways for masked tokens).

    Objectives that read the same rows both ways share one pass, as BERT's two do: masked tokens are hidden in the pairs
    of the next sentence. All others have rows, attention and a pass of their own.
    """

    record: type = Document
    Options = MixtureOptions

    def __init__(self, options: MixtureOptions = MixtureOptions(), facts: Facts | None = None) -> None:
        self.options = options
        self.parts: dict[str, Objective[Any]] = {}
        self._weights: dict[str, Weight] = {}
        for name, given in options.terms.items():
            chosen = dict(given or {})
            shared = {key: chosen.pop(key) for key in _WEIGHT if key in chosen}
            try:
                self._weights[name] = build(Weight, shared, f"objective.{name}")
            except UserError as error:
                raise UserError(f"objective {name}: {error}") from None
            self.parts[name] = single(name, chosen, facts)
        self.groups = _groups(self.parts)

    @property
    def longest(self) -> int:
        return min(getattr(part, "longest", 512) for part in self.parts.values())

    @property
    def sequences(self) -> int:
        """Rows of a model in one row of the source, over all passes."""
        return sum(getattr(self.parts[names[0]], "sequences", 1) for names in self.groups)

    @property
    def wants(self) -> dict[str, HeadOptions]:
        """The heads of all objectives."""
        wanted: dict[str, HeadOptions] = {}
        for part in self.parts.values():
            wanted |= getattr(part, "wants", {})
        return wanted

    def more_roots(self, trunk: Root) -> dict[str, Root]:
        found: dict[str, Root] = {}
        for part in self.parts.values():
            if isinstance(part, BothWays):
                found |= part.more_roots(trunk)
        return found

    def rows(self, text: Text) -> Rows[Mixed]:
        return MixedRows([rows_of(self.parts[names[0]], text) for names in self.groups])

    def files(self) -> Sequence[Any]:
        return [file for part in self.parts.values() if isinstance(part, BothWays) for file in part.files()]

    def prepare(self, record: Mixed, rng: np.random.Generator) -> Mixed:
        streams = iter(rng.spawn(len(self.parts)))
        prepared = []
        for row, names in zip(record.rows, self.groups, strict=True):
            for name in names:
                row = self.parts[name].prepare(row, next(streams))
            prepared.append(row)
        return Mixed(tuple(prepared))

    def collate(self, rows: Sequence[Mixed]) -> Batch:
        """The tensors of every group of objectives under its number, `0.inputs`; tokens are counted in every pass."""
        tensors: dict[str, Tensor] = {}
        tokens = 0
        for index, names in enumerate(self.groups):
            batch = self.parts[names[0]].collate([row.rows[index] for row in rows])
            tensors |= {f"{index}.{name}": tensor for name, tensor in batch.tensors.items()}
            tokens += batch.tokens
        return Batch(tensors, tokens)

    def each(self, batch: Batch) -> Iterator[tuple[list[str], Batch]]:
        """The objectives of every group, and their batch."""
        for index, names in enumerate(self.groups):
            start = f"{index}."
            own = {n.removeprefix(start): t for n, t in batch.tensors.items() if n.startswith(start)}
            yield names, Batch(own, 0)

    def counts(self, batch: Batch) -> dict[str, int]:
        found: dict[str, int] = {}
        for names, own in self.each(batch):
            for name in names:
                found |= self.parts[name].counts(own)
        return found

    def weights(self, step: int) -> dict[str, float]:
        return {
            term: self._weights[name].at(step) * weight
            for name, part in self.parts.items()
            for term, weight in part.weights(step).items()
        }

    def passes(self, roots: Roots, batch: Batch) -> Iterator[Passed]:
        for names, own in self.each(batch):
            parts = [self.parts[name] for name in names]
            together = [part for part in parts if isinstance(part, BothWays)]
            if len(together) < 2:
                yield from parts[0].passes(roots, own)
                continue
            found = read(roots["policy"], own, [output for part in together for output in part.outputs])
            sums: Passed = {}
            for part in together:
                sums |= part.sums(found, own)
            yield sums

    def example(self) -> tuple[dict[str, nn.Module], list[Mixed]]:
        examples = {name: part.example() for name, part in self.parts.items()}
        rows = zip(*(examples[names[0]][1] for names in self.groups), strict=True)
        roots: dict[str, nn.Module] = {}
        for made, _ in examples.values():
            roots |= made
        return {**roots, "policy": example_headed(self.wants)}, [Mixed(row) for row in rows]


def _groups(parts: Mapping[str, Objective[Any]]) -> list[list[str]]:
    """Objectives that share rows and a pass: guests go to the first that brings framed rows of its own."""
    both = {name: part for name, part in parts.items() if isinstance(part, BothWays) and part.shares_rows}
    hosts = [name for name, part in both.items() if not part.is_guest]
    guests = [name for name, part in both.items() if part.is_guest]
    groups = [[name] for name in parts if name not in guests]
    for group in groups:
        if hosts and group == [hosts[0]]:
            group += guests
    return groups if hosts or not guests else [*groups, guests]
