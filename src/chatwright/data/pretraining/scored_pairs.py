"""Pairs of sentences with a score of how alike they are: read, scaled, and grouped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.rows import Row, rows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed_groups import FramedGroup, framed_alone
from chatwright.errors import UserError
from chatwright.tokenization.tokenizer import Tokenizer

_HELD_OUT_EVERY = 20
_HIGHEST = 5.0


@dataclass(frozen=True)
class ScoredPair:
    """Two texts, and from 0 to 1 how alike they are."""

    a: str
    b: str
    score: float


def read_scored(path: Path, held_out: bool) -> list[ScoredPair]:
    """The pairs of a file of rows (JSON Lines, JSON, Parquet), scores from 0 to 5 as shares; every 20th line is held out where there are as
    many. Raises UserError that names the line."""
    found = list(_pairs(path))
    highest = _HIGHEST if max(pair.score for pair in found) > 1 else 1.0
    scaled = [ScoredPair(pair.a, pair.b, pair.score / highest) for pair in found]
    if len(scaled) < _HELD_OUT_EVERY:
        if held_out:
            raise UserError(f"{path} has less than {_HELD_OUT_EVERY} pairs, so none is held out")
        return scaled
    return [pair for n, pair in enumerate(scaled) if (n % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1) == held_out]


def _pairs(path: Path) -> Iterator[ScoredPair]:
    skipped = Tally()
    for place, row in rows(path, skipped):
        yield _pair(row, place)
    if skipped:
        reason, count = skipped.most_common(1)[0]
        raise UserError(
            f"{path}: {count} × {reason} (first {skipped.places[reason]}); mend or take out these rows"
        )


def _pair(row: Row, place: str) -> ScoredPair:
    if not all(isinstance(row.get(name), str) and row[name] for name in "ab"):
        raise UserError(f"{place} lacks a text 'a' or 'b'")
    score = row.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise UserError(f"{place} has no number 'score'")
    if not 0 <= score <= _HIGHEST:
        raise UserError(f"{place}: score={score} is not from 0 to 1 or from 0 to {_HIGHEST:g}")
    return ScoredPair(row["a"], row["b"], float(score))


class ScoredPairs:
    """Groups of scored pairs, every epoch others; a row is a pure function of (seed, epoch, index)."""

    def __init__(
        self,
        pairs: Sequence[ScoredPair],
        tokenizer: Tokenizer,
        facts: TokenFacts,
        context: int,
        size: int,
        seed: int = 0,
    ) -> None:
        self._firsts, self._seconds = (
            [
                framed_alone(ids.astype(np.int64), facts, context)
                for ids in tokenizer.encode_batch([getattr(pair, side) for pair in pairs])
            ]
            for side in "ab"
        )
        self._scores = np.array([pair.score for pair in pairs], dtype=np.float32)
        self._size, self._seed = min(size, len(pairs)), seed

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._scores) // self._size

    def row(self, epoch: int, index: int) -> FramedGroup:
        order: NDArray[np.int64] = np.random.default_rng([self._seed, epoch]).permutation(len(self._scores))
        chosen = order[index * self._size : (index + 1) * self._size].tolist()
        firsts, seconds = ([side[n] for n in chosen] for side in (self._firsts, self._seconds))
        return FramedGroup(tuple(firsts), tuple(seconds), self._scores[chosen])
