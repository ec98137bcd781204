"""Groups of framed texts that are compared with each other, and that no partition of a batch splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, frame
from chatwright.data.pretraining.sentences import Sentences
from chatwright.errors import UserError

_LEAST_TOKENS = 4


@dataclass(frozen=True)
class FramedGroup:
    """Two lists of framed texts, as long as each other: what stands at one place in both belongs together.

    `scores` float32[n]: how alike they are, where somebody said so; `same` int64[n]: a number of each first text, equal
    for texts that are equal, once it is known. A group that is not `real` counts nothing.
    """

    first: tuple[Framed, ...]
    second: tuple[Framed, ...]
    scores: NDArray[np.float32] | None = None
    same: NDArray[np.int64] | None = None
    real: bool = True

    def blank(self) -> FramedGroup:
        """A group of this shape that counts nothing."""
        return replace(
            self,
            first=tuple(row.blank() for row in self.first),
            second=tuple(row.blank() for row in self.second),
            real=False,
        )


class SentenceGroups:
    """`size` different sentences of a store as one row, each twice, cut at the context; every epoch another grouping.

    An epoch has each sentence once, but for what does not fill a group. Sentences of less than four tokens are left out
    where there are enough others. A row is a pure function of (seed, epoch, index).
    """

    def __init__(
        self, sentences: Sentences, context: int, facts: TokenFacts, size: int, seed: int = 0
    ) -> None:
        lengths = sentences.ends - sentences.begins
        long = np.flatnonzero(lengths >= _LEAST_TOKENS)
        self._kept = long if len(long) >= 2 else np.flatnonzero(lengths > 0)
        if len(self._kept) < 2:
            raise UserError(
                f"contrastive needs at least two sentences, and {sentences.store.directory} has "
                f"{len(self._kept)}; add texts"
            )
        self._sentences, self._context, self._facts = sentences, context, facts
        self._size, self._seed = min(size, len(self._kept)), seed
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._kept) // self._size

    def row(self, epoch: int, index: int) -> FramedGroup:
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng([self._seed, epoch])
            self._order = epoch, generator.permutation(self._kept)
        chosen = self._order[1][index * self._size : (index + 1) * self._size]
        texts = tuple(
            framed_alone(self._ids(int(sentence)), self._facts, self._context) for sentence in chosen
        )
        return FramedGroup(texts, texts)

    def _ids(self, sentence: int) -> NDArray[np.int64]:
        s = self._sentences
        return s.ids(int(s.begins[sentence]), int(s.ends[sentence]))


def framed_alone(ids: NDArray[np.int64], facts: TokenFacts, context: int) -> Framed:
    """One text as a row, cut where it is longer."""
    return frame([ids[: context - 2]], facts, context)


def flat(groups: Sequence[FramedGroup]) -> list[Framed]:
    """The first texts of all groups, then the second ones in the same order."""
    firsts = [row for group in groups for row in group.first]
    return firsts + [row for group in groups for row in group.second]
