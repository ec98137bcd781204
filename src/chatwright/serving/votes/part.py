"""The votes as a part of the server: opened by its options, described in its OpenAPI document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.progress import say
from chatwright.serving.app import Part
from chatwright.serving.models import Served
from chatwright.serving.openapi import gives, takes
from chatwright.serving.schema import Schema, group, listed, text, whole
from chatwright.serving.votes import bodies
from chatwright.serving.votes.database import FILE
from chatwright.serving.votes.export import KINDS
from chatwright.serving.votes.labelling import read_items
from chatwright.serving.votes.routes import VoteOptions, routes
from chatwright.serving.votes.store import VoteStore

_TEXT, _WHOLE, _ANY = text(), whole(0), {"type": "object"}
_ID = group({"id": _WHOLE}, ("id",))
_ITEM = group(
    {
        "id": _WHOLE,
        "prompt": _TEXT,
        "messages": listed(_ANY),
        "replies": listed(_TEXT),
        "done": _WHOLE,
        "total": _WHOLE,
    },
    ("done", "total"),
)
_REVEALED = group({"a": _TEXT, "b": _TEXT, "sampling": _ANY}, ("a", "b"))


def open_part(served: Served, options: VoteOptions) -> Part:
    """The part with its store, and the file of `labelling=` put into the queue. Nothing where votes are off."""
    if not options.votes:
        return Part()
    store = VoteStore.open(options.database or str(Path(served.known[0].directory) / FILE))
    if options.labelling is not None:
        skipped = Tally()
        added = store.enqueue(read_items(options.labelling, skipped))
        say(f"  {added:,} new comparisons in the labelling queue")
        for reason, times in skipped.items():
            say(f"  left out: {times:,} × {reason}")
    return replace(part(store, served, options), close=store.close)


def part(store: VoteStore, served: Served, options: VoteOptions | None = None) -> Part:
    """The part over a store that is open."""
    info = {"votes": True, "labelling": store.progress().total > 0}
    return Part(routes(store, served, options), _paths(), info)


def _paths() -> dict[str, Any]:
    lines = gives("all votes as JSON Lines", _TEXT, 400, kind="application/jsonl")
    lines["get"]["parameters"] = [_asked("kind", {"enum": list(KINDS)})]
    following = gives("the next comparison to rank", _ITEM, 400, 429, 500, 503, 504)
    following["get"]["parameters"] = [_asked("name", text(0, 80))]
    battle, side, number = _given("id", text(1)), _given("side", {"enum": ["a", "b"]}), _given("id", _WHOLE)
    spoken = takes("the reply of a side, streamed", bodies.SIDE.schema, _TEXT, streams=True)
    decided = takes("a vote on a battle", bodies.DECISION.schema, _REVEALED)
    refused = decided["post"]["responses"]
    refused["409"] = refused["404"]
    ranked = takes("a ranking", bodies.RANKING.schema, _ID)
    return {
        "/api/votes": takes("a thumb", bodies.VOTE.schema, _ID),
        "/api/votes/summary": gives("what the votes say", _ANY),
        "/api/votes/export.jsonl": lines,
        "/api/arena": takes("a battle", bodies.BATTLE.schema, group({"id": _TEXT}, ("id",))),
        "/api/arena/{id}/{side}/chat": {**spoken, "parameters": [battle, side]},
        "/api/arena/{id}/vote": {**decided, "parameters": [battle]},
        "/api/labelling": following,
        "/api/labelling/{id}": {**ranked, "parameters": [number]},
    }


def _asked(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _given(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}
