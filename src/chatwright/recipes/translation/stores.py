"""Pairs as tokens: some to learn from, a few held out to measure on."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.data.pair_store import encode_pairs, num_pairs
from chatwright.data.pairs import Fields, Pair, read_pairs
from chatwright.data.records import Message
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.progress import bar
from chatwright.recipes.stores import digest, shared_store
from chatwright.runs import OpenRun
from chatwright.tokenization.tokenizer import Tokenizer

_SHARE_HELD_OUT = 50
_MOST_HELD_OUT = 1000
_FEWEST_TO_SPLIT = 20


@dataclass(frozen=True)
class PairSplit:
    """Token stores of both sides; held-out pairs as text, on the first process; what was skipped, with the first place
    of each."""

    train: TokenStore
    validation: TokenStore | None
    measured: list[Pair]
    skipped: dict[str, tuple[int, str]]

    @property
    def held_out(self) -> str:
        return f"{num_pairs(self.validation):,}" if self.validation else "none (too few pairs)"


def pair_stores(
    world: World,
    run: OpenRun,
    pairs: str | Path,
    validation: str | None,
    fields: Fields,
    tokenizer: Tokenizer,
    seed: int,
) -> PairSplit:
    """Encode pairs into the run, once; with fewer than 20 sources and no validation file nothing is held out.

    Which pairs are held out depends on their sources and the seed alone; a source that is held out is nowhere learnt
    from, however often and with whatever targets the file has it.
    """
    place = run.directory / "tokens"
    held = (
        frozenset[bytes]()
        if validation
        else world.share(_lowest(pairs, fields, seed) if world.leads else None)
    )
    skipped = Tally()

    def encode(records: Iterable[Pair], title: str, notes: Tally) -> Any:
        def make(directory: Path) -> None:
            with bar(title) as shown:
                encode_pairs(
                    records,
                    tokenizer,
                    directory,
                    on_progress=lambda done, _: shown.update(done, f"{done:,} pairs"),
                    facts=lambda: {
                        "skipped": {reason: [n, notes.places[reason]] for reason, n in notes.items()}
                    },
                )

        return make

    learnt = (pair for pair in read_pairs(pairs, fields, skipped) if _digest(pair, seed) not in held)
    train = shared_store(world, place / "train", tokenizer, encode(learnt, "encoding pairs", skipped))
    told = {reason: (count, first) for reason, (count, first) in train.info.get("skipped", {}).items()}
    if validation is None and not held:
        return PairSplit(train, None, [], told)
    measured = list(_held_out(pairs, validation, fields, held, seed)) if world.leads else []
    make = encode(measured, "encoding held-out pairs", Tally())
    return PairSplit(train, shared_store(world, place / "validation", tokenizer, make), measured, told)


def _held_out(
    pairs: str | Path, validation: str | None, fields: Fields, held: frozenset[bytes], seed: int
) -> Iterator[Pair]:
    if validation:
        return read_pairs(validation, fields)
    return (pair for pair in read_pairs(pairs, fields) if _digest(pair, seed) in held)


def _lowest(pairs: str | Path, fields: Fields, seed: int) -> frozenset[bytes]:
    """The digests of the fiftieth of all sources (at most 1,000) whose digests are lowest; none of a small file."""
    digests = {_digest(pair, seed) for pair in read_pairs(pairs, fields)}
    if len(digests) < _FEWEST_TO_SPLIT:
        return frozenset()
    return frozenset(heapq.nsmallest(min(_MOST_HELD_OUT, max(1, len(digests) // _SHARE_HELD_OUT)), digests))


def _digest(pair: Pair, seed: int) -> bytes:
    return digest([Message("user", pair.source)], seed)
