"""The votes of a served page as a judge: open comparisons go into its labelling queue, and come back ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatwright.config import option
from chatwright.corpora.documents import encodable
from chatwright.data.formats import SkipRow
from chatwright.data.records import Comparison, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.rewards.contract import row_name
from chatwright.rewards.judges import check_groups, comparison, ranks_of
from chatwright.serving.votes.database import FILE
from chatwright.serving.votes.labelling import MOST_REPLIES, item
from chatwright.serving.votes.records import Item
from chatwright.serving.votes.store import VoteStore

Ranked = tuple[Sequence[str], Sequence[int]]
# Sums of the same ranks in another order are the same rank.
_EQUAL = 1e-9


@dataclass(frozen=True)
class VotesJudgeOptions:
    """Let people vote on a page that `chatwright serve` shows."""

    database: str | None = option(
        None,
        "where the votes are: the folder of the run that is served, a file, or postgresql://…; none: votes.sqlite in the loop's own folder",
    )
    complete: bool = option(True, "wait until every comparison has a vote; no: go on with those that have")


class VotesJudge:
    """Puts comparisons into the labelling queue and reads the rankings that people gave them there.

    Several people's rankings of a comparison are joined by the mean rank of each reply.
    """

    Options = VotesJudgeOptions

    def __init__(self, options: VotesJudgeOptions, place: Path | None = None) -> None:
        """`place`: the folder of the loop, whose database is taken where the options name none."""
        if options.database is None and place is None:
            raise UserError(
                "the judge 'votes' needs the option 'database', the folder of the run that is served"
            )
        self.options = options
        self.database = options.database or str(Path(place or "") / FILE)

    def compare(self, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> list[Comparison | None]:
        """A comparison for each prompt; None for one that nobody could decide, or is open with `complete=no`.

        Replies that say the same are tied, and nobody is asked. Raises Interrupted when comparisons are open.
        """
        check_groups(prompts, replies)
        items = [_item(prompt, group) for prompt, group in zip(prompts, replies, strict=True)]
        asked = {item.key: item for item in items if item is not None}
        store = VoteStore.open(self.database)
        try:
            store.enqueue(asked.values())
            votes = store.rankings(list(asked))
        finally:
            store.close()
        still_open = len(asked.keys() - votes.keys())
        if still_open and (self.options.complete or still_open == len(asked)):
            raise Interrupted(self._request(still_open, len(asked)))
        return [
            _judged(prompt, group, votes.get(item.key, []))
            if item
            else comparison(prompt, group, [0] * len(group))
            for prompt, group, item in zip(prompts, replies, items, strict=True)
        ]

    def _request(self, count: int, total: int) -> str:
        return (
            f"{count} of {total} comparisons are open; rank them on the page of `chatwright serve RUN "
            f"database={self.database}`, then run the same command again"
        )


def _item(prompt: Prompt, replies: Sequence[str]) -> Item | None:
    """The comparison as it stands in the queue; None where no two replies differ."""
    try:
        return item(prompt.messages, replies, source=prompt.source)
    except SkipRow:
        if len(replies) > MOST_REPLIES:
            raise UserError(
                f"{row_name(prompt)} has {len(replies)} replies; people can be shown {MOST_REPLIES} at most"
            ) from None
        return None


def _judged(prompt: Prompt, replies: Sequence[str], votes: Sequence[Ranked]) -> Comparison | None:
    """The replies by their mean rank over those who could say."""
    points = dict.fromkeys((encodable(reply).strip() for reply in replies), 0.0)
    said = [vote for vote in votes if vote[1]]
    for texts, ranks in said:
        for text, rank in zip(texts, ranks, strict=True):
            points[text.strip()] -= rank / len(said)
    if not said:
        return None
    return comparison(
        prompt, replies, ranks_of([points[encodable(reply).strip()] for reply in replies], _EQUAL)
    )
