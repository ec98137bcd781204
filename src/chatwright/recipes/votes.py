"""`votes`: what people said of a model's replies: counts, win rates, agreement, and the rows to learn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chatwright.config import option
from chatwright.corpora.documents import Tally
from chatwright.files import written_aside
from chatwright.progress import say
from chatwright.recipes.verb import Place, verb
from chatwright.serving.votes.export import lines
from chatwright.serving.votes.remote import RemoteVotes
from chatwright.serving.votes.store import VoteStore
from chatwright.serving.votes.summary import summary


@dataclass(frozen=True)
class VotesOptions:
    """What is written to -o."""

    kind: Literal["preferences", "rankings", "labelled", "votes"] = option(
        "preferences",
        "what -o gets: preferences (for reward, dpo …), rankings, labelled (for kto), votes (all that is known)",
    )


@verb(VotesOptions)
def votes(
    source: Place, out: str | Path | None = None, options: VotesOptions = VotesOptions()
) -> dict[str, Any]:
    """Print what the votes say that people gave on the page of `chatwright serve`, and write them to -o as JSON Lines for `reward`, `dpo` or `kto`. SOURCE is the folder of a run that was served, a server's address as http://localhost:8000, or a database: a file or postgresql://…."""
    skipped = Tally()
    if str(source).startswith(("http://", "https://")):
        remote = RemoteVotes(str(source))
        found, rows = remote.summary(), remote.lines(options.kind)
        written = _write(rows, out)
    else:
        store = VoteStore.open(source, create=False)
        try:
            found = summary(store.votes(), store.progress())
            written = _write(lines(store.votes(), options.kind, skipped), out)
        finally:
            store.close()
    for line in table(found):
        # names of models are whatever a database or a server says
        print("".join(sign if sign.isprintable() else "�" for sign in line))
    if out is not None:
        say(f"  {written:,} rows of {options.kind} in {out}")
        for reason, count in skipped.items():
            say(f"  left out: {count:,} × {reason}")
    told = {} if out is None else {"out": str(out), "kind": options.kind, "rows": written}
    return {"source": _PASSWORD.sub("//", str(source)), **found, **told}


_PASSWORD = re.compile(r"//[^/]*@")


def _write(rows: Iterable[str], out: str | Path | None) -> int:
    if out is None:
        return 0
    count = 0
    with written_aside(str(out)) as file:
        assert file is not None
        for row in rows:
            file.write(row)
            count += 1
    return count


def table(found: dict[str, Any]) -> Iterator[str]:
    """The summary as lines for people."""
    kinds = ", ".join(f"{count:,} {_KINDS.get(kind, kind)}" for kind, count in found["kinds"].items())
    votes_word = "vote" if found["votes"] == 1 else "votes"
    yield f"{found['votes']:,} {votes_word}{f' ({kinds})' if kinds else ''} by {_people(found)}"
    if found["queue"]["total"]:
        yield f"labelling queue: {found['queue']['done']:,} of {found['queue']['total']:,} ranked"
    for one in found["thumbs"]:
        yield f"  {one['model']}: {one['up']:,} up, {one['down']:,} down, {_share(one['share'], one['interval'])} up"
    for one in found["win_rates"]:
        counts = f"{one['wins']:,} won, {one['ties']:,} tied, {one['losses']:,} lost"
        yield f"  {one['a']} against {one['b']}: {_share(one['rate'], one['interval'])} ({counts})"
    if len(found["strengths"]) > 2:
        yield "strength (Bradley-Terry, 400 points: odds of ten to one)"
        for one in found["strengths"]:
            low, high = one["interval"]
            yield f"  {one['points']:6.0f}  ({low:.0f} to {high:.0f})  {one['model']}, {one['games']:,} comparisons"
    for what, one in found["agreement"].items():
        if one["things"]:
            alpha = "" if one["alpha"] is None else f", Krippendorff's alpha {one['alpha']:.2f}"
            shared = f"{one['things']:,} {what} that {one['people']:,} people share"
            yield f"agreement: {_share(one['same'], one['interval'])} on {shared}{alpha}"


_KINDS = {"thumb": "thumbs", "arena": "in the arena", "ranking": "rankings"}


def _people(found: dict[str, Any]) -> str:
    people = "person" if found["people"] == 1 else "people"
    named = f"{found['people']:,} {people} by name" if found["people"] else ""
    unnamed = f"{found['unnamed']:,} without a name" if found["unnamed"] else ""
    return " and ".join(filter(None, (named, unnamed))) or "nobody"


def _share(value: float, interval: list[float]) -> str:
    return f"{value:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"
