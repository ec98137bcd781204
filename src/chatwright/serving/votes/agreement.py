"""Whether people agree: what several of them said of the same thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import combinations

from chatwright.evaluation.answers import Share


@dataclass(frozen=True)
class Agreement:
    """Of the things that several people judged: how many there are, how many people, the share of two people's
    verdicts that are equal, and Krippendorff's alpha: 1 for perfect agreement, 0 for chance's; None without choice."""

    things: int
    people: int
    same: Share
    alpha: float | None


def agreement(verdicts: Mapping[Hashable, Mapping[str, str]]) -> Agreement:
    """The agreement on things, each with the verdict of every person who judged it; verdicts have no order.

    Alpha (Krippendorff 1970, nominal) is 1 − observed / expected disagreement over verdicts of things judged twice or
    more.
    """
    shared = [list(said.values()) for said in verdicts.values() if len(said) > 1]
    people = {name for said in verdicts.values() if len(said) > 1 for name in said}
    pairs = [one == other for said in shared for one, other in combinations(said, 2)]
    return Agreement(len(shared), len(people), Share(sum(pairs), len(pairs)), _alpha(shared))


def _alpha(shared: list[list[str]]) -> float | None:
    counts = Counter(verdict for said in shared for verdict in said)
    total = sum(counts.values())
    observed = sum(
        sum(one != other for one, other in combinations(said, 2)) * 2 / (len(said) - 1) for said in shared
    )
    expected = sum(one * (total - one) for one in counts.values())
    return 1 - (total - 1) * observed / expected if expected else None
