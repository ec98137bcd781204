"""Speculative decoding by prompt look-up: what followed the last tokens where they stood before is guessed to follow again.

A step reads all weights for one row, and a few rows more cost little beside that. So a reply's next tokens are guessed from
its own prompt and text, the model runs the guesses together with the token before them, and those that it would have
written itself are kept (Leviathan et al. 2023, section 2; the guesses as in Saxena 2023, "Prompt Lookup Decoding").
Here it is kept by equality: each place draws its token as it would have without guesses, so that the reply is the same one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Tokens that must have stood together before; with fewer most guesses are wrong.
_GRAM = 3
_TRUST, _LEARNING, _FORGETTING = 0.7, 0.2, 0.02
# What a row more takes, as a share of the time of one row alone: 0.18 to 0.21 at 26 M and 135 M parameters in int8.
_ROW_COST = 0.2


class Drafts:
    """The guesses of one reply, and how far they can be trusted: the share of guessed tokens that were right of late."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ends: dict[tuple[int, ...], int] = {}  # of each gram: the place behind where it stood last
        self._known = 0
        self._trust = _TRUST

    def guess(self, tokens: Sequence[int], room: int, writing: int) -> list[int]:
        """Up to `room` tokens that may follow, where `writing` replies share the step; often none."""
        if not self._most:
            return []
        self._learn_grams(tokens)
        begin = self._ends.get(tuple(tokens[-_GRAM:]))
        if begin is None:
            return []
        count = min(self._worth(writing), self._most, room)
        if count == 0:
            self._trust += _FORGETTING * (_TRUST - self._trust)
        return list(tokens[begin : begin + count])

    def judge(self, guessed: int, right: int) -> None:
        """Hear how many of the guesses came true; those behind the first wrong one tell nothing."""
        for place in range(min(right + 1, guessed)):
            self._trust += _LEARNING * ((place < right) - self._trust)

    def _learn_grams(self, tokens: Sequence[int]) -> None:
        """All but the last: it is what is looked up."""
        for end in range(max(self._known, _GRAM), len(tokens)):
            self._ends[tuple(tokens[end - _GRAM : end])] = end
        self._known = len(tokens)

    def _worth(self, writing: int) -> int:
        """How many guesses pay: the last of them must be right more often than its row costs of a token's time."""
        cost = _ROW_COST * writing / (1 + _ROW_COST * (writing - 1))
        return int(math.log(cost) / math.log(min(max(self._trust, 1e-3), 0.97)))
