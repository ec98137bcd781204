"""The replies of a file, scored batch by batch; comparisons with the judge's accuracy."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.rows import rows
from chatwright.data.encode_groups import reply_ids
from chatwright.data.formats import Row, SkipRow, chat_of
from chatwright.data.preference_formats import COMPARISONS
from chatwright.data.preferences import comparison_of
from chatwright.data.record_stream import chain_files
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.evaluation.answers import Share
from chatwright.files import written_aside
from chatwright.progress import bar, say
from chatwright.recipes.alignment.judging import Judges
from chatwright.training.rollouts.experience import Judging

_ROWS_TOGETHER = 64

_SHOWN = 60

_LAYOUT = frozenset(
    {"prompt", "messages", "conversations", "question", "instruction", "input", "history", "system", "tools"}
    | {"completion", "completions", "response", "responses", "reply", "replies", "output", "margin"}
    | {"chosen", "rejected", "ranks", "scores", "label", "kto_tag"}
)


@dataclass(frozen=True)
class Item:
    """A row with what is scored in it; `ranks` where it is a comparison."""

    row: Row
    prompt: Prompt
    replies: tuple[str, ...]
    ranks: tuple[int, ...] | None = None


@dataclass
class Totals:
    """What was found so far: the scores of each row, and how the pairs came out."""

    scores: list[Any] = field(default_factory=list)
    disagreement: list[Any] = field(default_factory=list)
    right: int = 0
    ties: int = 0
    pairs: int = 0

    def compare(self, scores: list[float], ranks: tuple[int, ...]) -> None:
        pairs = [
            (scores[i], scores[j])
            for i, high in enumerate(ranks)
            for j, low in enumerate(ranks)
            if high < low
        ]
        self.pairs += len(pairs)
        self.right += sum(better > worse for better, worse in pairs)
        self.ties += sum(better == worse for better, worse in pairs)


def score_file(judges: Judges, file: str | Path, out: str | None) -> dict[str, Any]:
    """Score the rows of a file, a few at a time."""
    totals, skipped = Totals(), Tally()
    items = _items(judges, file, skipped)
    with written_aside(out) as written, bar("scoring") as shown:
        while part := list(islice(items, _ROWS_TOGETHER)):
            for item, scores, apart in _scored(judges, part):
                is_single = item.ranks is None
                found = {"score": scores[0] if is_single else scores}
                found |= {"disagreement": apart[0] if is_single else apart} if apart else {}
                totals.scores.append(found["score"])
                totals.disagreement += [found["disagreement"]] if apart else []
                if item.ranks is not None:
                    totals.compare(scores, item.ranks)
                if written is not None:
                    written.write(json.dumps({**item.row, **found}, ensure_ascii=False) + "\n")
                else:
                    _print(item, scores)
            shown.update(len(totals.scores), f"{len(totals.scores):,} rows")
        if not totals.scores:
            told = [f"{n} × {reason} (first {skipped.places[reason]})" for reason, n in skipped.items()]
            raise UserError(f"there is no reply to score in {file}: {'; '.join(told) or 'it is empty'}")
    for reason, count in skipped.items():
        say(f"  skipped {count:,}: {reason} (first: {skipped.places[reason]})")
    return _summary(totals)


def _summary(totals: Totals) -> dict[str, Any]:
    flat = [s for row in totals.scores for s in (row if isinstance(row, list) else [row])]
    found: dict[str, Any] = {"replies": len(flat), "mean": statistics.fmean(flat)}
    found["deviation"] = statistics.pstdev(flat)
    say(f"  {len(flat):,} replies, mean {found['mean']:.4g}, deviation {found['deviation']:.4g}")
    if totals.pairs:
        share = Share(totals.right, totals.pairs)
        low, high = share.interval
        found |= {"pairs": totals.pairs, "ties": totals.ties}
        found |= {"accuracy": share.value, "accuracy_interval": [low, high]}
        ties = f", {totals.ties:,} tied" if totals.ties else ""
        say(
            f"  the better reply scores higher in {share.value:.1%} of {totals.pairs:,} pairs "
            f"({low:.1%} to {high:.1%}){ties}"
        )
    found["scores"] = totals.scores
    return found | ({"disagreement": totals.disagreement} if totals.disagreement else {})


def _items(judges: Judges, file: str | Path, skipped: Tally) -> Iterator[Item]:
    """The rows of a file that can be scored; the others are counted."""
    for path in chain_files([file]):
        for place, row in rows(path, skipped):
            try:
                item = _item(row, place)
                if not _fits(judges, item):
                    raise SkipRow("longer than the judge's context")
            except SkipRow as reason:
                skipped.add(str(reason), place)
                continue
            yield item


def _item(row: Row, place: str) -> Item:
    facts = {key: value for key, value in row.items() if key not in _LAYOUT}
    if any(format.matches(row) for format in COMPARISONS.values()):
        found = comparison_of(row, place)
        return Item(row, Prompt(found.prompt, facts, place), found.replies, found.ranks)
    # whether somebody wanted the reply is no reason to leave it out
    unlabelled = {key: value for key, value in row.items() if key not in ("label", "kto_tag")}
    messages = chat_of(unlabelled, place).messages
    if messages[-1].role != "assistant" or len(messages) < 2:
        raise SkipRow("conversation that does not end with a reply")
    return Item(row, Prompt(messages[:-1], facts, place), (messages[-1].content,))


def _fits(judges: Judges, item: Item) -> bool:
    return all(
        sum(map(len, reply_ids(model.renderer, item.prompt.messages, reply))) <= model.model.options.context
        for model in judges.models
        for reply in item.replies
    )


def _scored(judges: Judges, items: list[Item]) -> Iterator[tuple[Item, list[float], list[float]]]:
    """Each item with the scores of its replies and, of an ensemble, the disagreement about each."""
    prompts = [item.prompt for item in items for _ in item.replies]
    texts = [reply for item in items for reply in item.replies]
    found = Judging(judges.reward)(prompts, texts, [True] * len(texts))
    at = 0
    for item in items:
        here = slice(at, at := at + len(item.replies))
        yield item, found["score"][here], found.get("disagreement", [])[here]


def _print(item: Item, scores: list[float]) -> None:
    for value, reply in zip(scores, item.replies, strict=True):
        print(f"{value:9.4f}  {_first_words(item.prompt.messages[-1].content)} → {_first_words(reply)}")


def _first_words(text: str) -> str:
    words = " ".join(text[: 4 * _SHOWN].split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + "…"
