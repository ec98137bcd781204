"""Pairs as tokens: some to learn from, a few held out to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatwright.corpora.documents import Tally
from chatwright.data.pair_store import encode_pairs, num_pairs
from chatwright.data.pairs import Fields, Pair, read_pairs
from chatwright.data.records import Message
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.recipes.stores import digest, encoding, lowest, shared_store, told
from chatwright.runs import OpenRun
from chatwright.tokenization.tokenizer import Tokenizer

_SHARE_HELD_OUT = 50


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

    Which pairs are held out depends on their sources and the seed alone (`lowest`), whatever their targets.
    """
    place, skipped = run.directory / "tokens", Tally()
    held = frozenset[bytes]()
    if not validation:
        held = world.share(_lowest(pairs, fields, seed) if world.leads else None)

    def encode(records: Iterable[Pair], title: str, notes: Tally | None = None) -> Callable[[Path], None]:
        return encoding(encode_pairs, records, tokenizer, title, "pairs", notes)

    learnt = (pair for pair in read_pairs(pairs, fields, skipped) if _digest(pair, seed) not in held)
    train = shared_store(world, place / "train", tokenizer, encode(learnt, "encoding pairs", skipped))
    if validation is None and not held:
        return PairSplit(train, None, [], told(train))
    measured = list(_held_out(pairs, validation, fields, held, seed)) if world.leads else []
    make = encode(measured, "encoding held-out pairs")
    return PairSplit(train, shared_store(world, place / "validation", tokenizer, make), measured, told(train))


def _held_out(
    pairs: str | Path, validation: str | None, fields: Fields, held: frozenset[bytes], seed: int
) -> Iterator[Pair]:
    if validation:
        return read_pairs(validation, fields)
    return (pair for pair in read_pairs(pairs, fields) if _digest(pair, seed) in held)


def _lowest(pairs: str | Path, fields: Fields, seed: int) -> frozenset[bytes]:
    return lowest((_digest(pair, seed) for pair in read_pairs(pairs, fields)), _SHARE_HELD_OUT)


def _digest(pair: Pair, seed: int) -> bytes:
    return digest([Message("user", pair.source)], seed)
