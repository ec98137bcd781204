"""What the votes say so far: counts, win rates with their intervals, strengths, whether people agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from chatwright.evaluation.answers import Share
from chatwright.evaluation.winning import WinRate
from chatwright.serving.votes.agreement import Agreement, agreement
from chatwright.serving.votes.records import Queue, Vote, key_of
from chatwright.serving.votes.strengths import strengths


@dataclass
class _Counts:
    kinds: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    thumbs: dict[str, Counter[int]] = field(default_factory=dict)
    games: list[tuple[str, str, float]] = field(default_factory=list)
    both_bad: int = 0
    unsure: int = 0
    better: int = 0
    compared: dict[Hashable, dict[str, str]] = field(default_factory=dict)
    thumbed: dict[Hashable, dict[str, str]] = field(default_factory=dict)


def summary(votes: Iterable[Vote], queue: Queue) -> dict[str, Any]:
    """The votes in plain numbers; win rates are those of `a` against `b`, ties counted half, with 95 % intervals."""
    counts, first, last = _Counts(), 0.0, 0.0
    for vote in votes:
        first, last = first or vote.created, vote.created
        _count(counts, vote)
    rated = strengths(counts.games) if counts.games else []
    return {
        "votes": counts.kinds.total(),
        "kinds": dict(counts.kinds),
        "people": sum(bool(name) for name in counts.names),
        "unnamed": counts.names[""],
        "first": first or None,
        "last": last or None,
        "better_answers": counts.better,
        "both_bad": counts.both_bad,
        "unsure": counts.unsure,
        "thumbs": [_thumbs(model, counts.thumbs[model]) for model in sorted(counts.thumbs)],
        "win_rates": list(_win_rates(counts.games)),
        "strengths": [
            {"model": one.name, "points": one.points, "interval": list(one.interval), "games": one.games}
            for one in rated
        ],
        "agreement": {
            "comparisons": _agreed(agreement(counts.compared)),
            "thumbs": _agreed(agreement(counts.thumbed)),
        },
        "queue": {"done": queue.done, "total": queue.total},
    }


def _count(counts: _Counts, vote: Vote) -> None:
    counts.kinds[vote.kind] += 1
    counts.names[vote.name] += 1
    counts.better += bool(vote.better)
    if vote.kind == "thumb":
        counts.thumbs.setdefault(vote.models[0], Counter())[vote.value] += 1
        _said(counts.thumbed, key_of(vote.messages, vote.replies), vote.name, str(vote.value))
        return
    counts.both_bad += vote.value < 0
    counts.unsure += not vote.ranks
    sides = contenders(vote)
    for one, other in combinations(range(len(vote.ranks)), 2):
        ahead = vote.ranks[other] - vote.ranks[one]
        share = 0.5 if not ahead else float(ahead > 0)
        if sides[one] and sides[other] and sides[one] != sides[other]:
            counts.games.append((sides[one], sides[other], share))
        texts = sorted([vote.replies[one], vote.replies[other]])
        mine = share if texts[0] == vote.replies[one] else 1 - share
        _said(counts.compared, key_of(vote.messages, texts), vote.name, str(mine))


def _said(table: dict[Hashable, dict[str, str]], thing: Hashable, name: str, verdict: str) -> None:
    """The last verdict of a person counts; nobody can tell whether the unnamed are one or many."""
    if name:
        table.setdefault(thing, {})[name] = verdict


def contenders(vote: Vote) -> list[str]:
    """The names under which the replies' makers compete: their models and, where only one took part, what was different
    in their sampling. Empty where it is not known."""
    if len(set(vote.models)) > 1:
        return list(vote.models)
    keys = {key for sampling in vote.samplings for key in sampling}
    different = sorted(
        key for key in keys if len({repr(sampling.get(key)) for sampling in vote.samplings}) > 1
    )
    return [
        model and " ".join([model, *(f"{key}={sampling.get(key)}" for key in different)])
        for model, sampling in zip(vote.models, vote.samplings, strict=True)
    ]


def _thumbs(model: str, values: Counter[int]) -> dict[str, Any]:
    share = Share(values[1], values[1] + values[-1])
    return {
        "model": model,
        "up": values[1],
        "down": values[-1],
        "share": share.value,
        "interval": list(share.interval),
    }


def _win_rates(games: Iterable[tuple[str, str, float]]) -> Iterator[dict[str, Any]]:
    table: dict[tuple[str, str], Counter[float]] = {}
    for one, other, share in games:
        pair = (one, other) if one < other else (other, one)
        table.setdefault(pair, Counter())[share if pair[0] == one else 1 - share] += 1
    for (one, other), shares in sorted(table.items()):
        won = WinRate(shares[1.0], shares[0.5], shares[0.0])
        yield {
            "a": one,
            "b": other,
            "wins": won.wins,
            "ties": won.ties,
            "losses": won.losses,
            "rate": won.rate,
            "interval": list(won.interval),
        }


def _agreed(found: Agreement) -> dict[str, Any]:
    return {
        "things": found.things,
        "people": found.people,
        "same": found.same.value if found.same.total else None,
        "interval": list(found.same.interval) if found.same.total else None,
        "alpha": found.alpha,
    }
