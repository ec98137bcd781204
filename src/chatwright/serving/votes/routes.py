"""The routes of votes: thumbs, the arena, the labelling queue, export and summary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from chatwright.config import at_least, option
from chatwright.data.formats import SkipRow
from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.serving.errors import ApiError
from chatwright.serving.models import Served, ServedModel
from chatwright.serving.openai.chat import answer, replies_to
from chatwright.serving.reading import read_json
from chatwright.serving.votes import bodies
from chatwright.serving.votes.arena import Draw, KeptReply, ranks_of
from chatwright.serving.votes.export import KINDS, lines
from chatwright.serving.votes.labelling import item as shuffled_item
from chatwright.serving.votes.records import Battle, Item, Queue, Vote
from chatwright.serving.votes.store import VoteStore
from chatwright.serving.votes.summary import summary
from chatwright.serving.wire import Json

_WIDE = {"temperature": 1.0, "top_p": 1.0}


@dataclass(frozen=True)
class VoteOptions:
    """Votes on what is served."""

    votes: bool = option(True, "whether the page asks for votes and keeps them")
    database: str | None = option(
        None,
        "where votes are kept: a file *.sqlite or postgresql://…; none: votes.sqlite in the first run's folder",
    )
    labelling: str | None = option(
        None, "a file of prompts whose replies are to be ranked, or are sampled where it has none"
    )
    labelling_replies: int = option(4, "replies that are sampled for a prompt of labelling=")
    labelling_tokens: int = option(512, "the most tokens of a reply that is sampled for labelling=")
    arena_seed: int | None = option(
        None, "draws who meets in the arena and on which side; none: unforeseeable"
    )

    def __post_init__(self) -> None:
        if not 2 <= self.labelling_replies <= 26:
            raise UserError(f"labelling_replies={self.labelling_replies} must be from 2 to 26")
        at_least(self, 1, "labelling_tokens")


def routes(store: VoteStore, served: Served, options: VoteOptions | None = None) -> list[Route]:
    """The routes over a store and the models that are served."""
    desk = _VoteDesk(store, served, options or VoteOptions())
    given: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("/api/votes", "POST", desk.vote),
        ("/api/votes/summary", "GET", desk.summary),
        ("/api/votes/export.jsonl", "GET", desk.export),
        ("/api/arena", "POST", desk.begin),
        ("/api/arena/{id}/{side}/chat", "POST", desk.speak),
        ("/api/arena/{id}/vote", "POST", desk.decide),
        ("/api/labelling", "GET", desk.next_item),
        ("/api/labelling/{id:int}", "POST", desk.rank),
    ]
    return [Route(path, endpoint, methods=[method]) for path, method, endpoint in given]


class _VoteDesk:
    """What the routes share. The store is asked in threads, so that a slow database holds up nobody's stream."""

    def __init__(self, store: VoteStore, served: Served, options: VoteOptions) -> None:
        self._store, self._served, self._options = store, served, options
        self._draw = Draw(options.arena_seed)
        self._sampling = asyncio.Lock()

    async def vote(self, request: Request) -> Response:
        """Keep a thumb; with the `id` of an earlier one on the same reply, in its place."""
        body = await read_json(request, bodies.VOTE)
        if body["model"] not in [known.id for known in self._served.known]:
            raise self._served.unknown(body["model"])
        vote = Vote(
            "thumb",
            bodies.conversation(body["messages"]),
            [body["reply"]],
            [body["model"]],
            [body.get("sampling") or {}],
            value=body["value"],
            better=body.get("better") or "",
            reason=body.get("reason") or "",
            name=bodies.name_of(body),
        )
        earlier = body.get("id")
        if earlier is None:
            return Json({"id": await asyncio.to_thread(self._store.add, vote)})
        if not await asyncio.to_thread(self._store.change, earlier, vote):
            raise ApiError(404, "there is no such vote on this reply", "id", "not_found")
        return Json({"id": earlier})

    async def begin(self, request: Request) -> Response:
        """Open a battle. Nothing in the answer tells who meets."""
        body = await read_json(request, bodies.BATTLE)
        messages = bodies.conversation(body["messages"])
        wanted = body.get("models") or []
        for name in wanted:
            self._served.model(name, "chat")
        models, samplings = self._draw.sides([model.id for model in self._served.able("chat")], wanted)
        battle = await asyncio.to_thread(self._store.begin_battle, Battle("", messages, models, samplings))
        return Json({"id": battle.id})

    async def speak(self, request: Request) -> Response:
        """Stream the reply of a side, as /v1/chat/completions does, under the name of the side."""
        side = request.path_params["side"]
        if side not in ("a", "b"):
            raise ApiError(404, "a battle has the sides a and b", code="not_found")
        battle = await self._battle(request)
        body = await read_json(request, bodies.SIDE)
        if body.get("messages") and bodies.conversation(body["messages"]) != battle.messages:
            message = "both sides answer the messages that the battle began with; begin another for these"
            raise ApiError(400, message, "messages", "invalid_value")
        place = "ab".index(side)
        kept = {key: value for key, value in body.items() if key not in ("messages", "model", "stream")}
        asked = {**kept, **battle.samplings[place], "messages": battle.messages, "stream": True}
        try:
            model = self._served.model(battle.models[place], "chat")
            response = await answer(request, model, {**asked, "model": model.id}, shown=side)
        except ApiError as error:
            # what the refusal says may tell the model: its name, the length of its context
            message = f"the side {side} cannot answer this; try a shorter conversation or other settings"
            raise ApiError(error.status, message, code=error.code, headers=error.headers) from None
        return KeptReply(response, request, self._store, battle, side)

    async def decide(self, request: Request) -> Response:
        """Keep the vote on a battle, and tell who was who."""
        battle = await self._battle(request)
        body = await read_json(request, bodies.DECISION)
        if None in battle.replies:
            raise ApiError(409, "both sides must have answered before somebody votes", code="unanswered")
        ranks, value = ranks_of(body["winner"])
        vote = Vote(
            "arena",
            battle.messages,
            [reply or "" for reply in battle.replies],
            battle.models,
            battle.samplings,
            ranks=ranks,
            value=value,
            reason=body.get("reason") or "",
            name=bodies.name_of(body),
        )
        if not await asyncio.to_thread(self._store.end_battle, battle.id, vote):
            raise _no_battle()
        (a, b), (way_a, way_b) = battle.models, battle.samplings
        return Json({"a": a, "b": b, "sampling": {"a": way_a, "b": way_b}})

    async def _battle(self, request: Request) -> Battle:
        found = await asyncio.to_thread(self._store.battle, request.path_params["id"])
        if found is None:
            raise _no_battle()
        return found

    async def next_item(self, request: Request) -> Response:
        """The next comparison for `?name=`, and how far they are."""
        name = bodies.name_of({"name": request.query_params.get("name", "")[:80]})
        while True:
            queue: Queue = await asyncio.to_thread(self._store.queue, name)
            counts = {"done": queue.done, "total": queue.total}
            if queue.item is None:
                return Json(counts)
            if queue.item.replies:
                return Json({**_shown(queue.item), **counts})
            # one at a time: who waits finds the replies there
            async with self._sampling:
                current = await asyncio.to_thread(self._store.item, queue.item.id)
                if current is not None and not current.replies:
                    await asyncio.to_thread(self._store.fill, await self._sampled(request, current))

    async def _sampled(self, request: Request, item: Item) -> Item:
        """The item with replies of the models that are served, in turn."""
        models = self._served.able("chat")
        if not models:
            raise ApiError(503, "the item has no replies and no chat model is served to write them")
        texts: list[str] = []
        makers: list[str] = []
        for place, model in enumerate(models):
            count = len(range(place, self._options.labelling_replies, len(models)))
            if not count:
                continue
            longest = self._options.labelling_tokens
            limit = {"max_tokens": min(longest, request.app.state.options.max_tokens or longest)}
            asked = {"model": model.id, "messages": item.messages, **_WIDE, **limit}
            for number in _groups(count, model):
                texts += await replies_to(request, model, {**asked, "n": number})
            makers += [model.id] * count
        return _with_replies(item, texts, makers)

    async def rank(self, request: Request) -> Response:
        """Keep somebody's ranking of a comparison."""
        body = await read_json(request, bodies.RANKING)
        id = request.path_params["id"]
        # no database takes larger numbers
        item = await asyncio.to_thread(self._store.item, id) if id < 2**31 else None
        if item is None or not item.replies:
            raise ApiError(404, "there is no such comparison; ask for the next one", code="not_found")
        vote = Vote(
            "ranking",
            item.messages,
            item.replies,
            item.models,
            item.samplings,
            ranks=bodies.ranks(body["ranking"], len(item.replies)),
            item=item.id,
            reason=body.get("reason") or "",
            name=bodies.name_of(body),
        )
        return Json({"id": await asyncio.to_thread(self._store.rank, vote)})

    async def export(self, request: Request) -> Response:
        """All votes as JSON Lines of one kind."""
        kind = request.query_params.get("kind", "preferences")
        if kind not in KINDS:
            raise ApiError(400, f"kind should be one of {', '.join(KINDS)}", "kind", "invalid_value")
        headers = {"content-disposition": f'attachment; filename="{kind}.jsonl"'}
        return StreamingResponse(self._lines(kind), media_type="application/jsonl", headers=headers)

    def _lines(self, kind: str) -> Iterator[bytes]:
        for line in lines(self._store.votes(), kind):
            yield line.encode("utf-8", "backslashreplace")

    async def summary(self, request: Request) -> Response:
        """What the votes say so far."""

        def count() -> dict[str, Any]:
            return summary(self._store.votes(), self._store.progress())

        return Json(await asyncio.to_thread(count))


def _shown(item: Item) -> dict[str, Any]:
    """An item without what tells where a reply came from."""
    prompt = item.messages[-1]["content"]
    return {"id": item.id, "prompt": prompt, "messages": item.messages, "replies": item.replies}


def _groups(count: int, model: ServedModel) -> list[int]:
    """So many replies in groups that the model's engine takes at once."""
    assert model.writer is not None, "a model that chats has a writer"
    most = model.writer.engine.most
    return [min(most, count - begin) for begin in range(0, count, most)]


def _with_replies(item: Item, texts: list[str], makers: list[str]) -> Item:
    """The item with what was sampled for it; where no two replies differ, with one, which nobody is asked to rank."""
    messages = [Message(turn["role"], turn["content"]) for turn in item.messages]
    ways = [_WIDE] * len(texts)
    try:
        made = shuffled_item(messages, texts, makers, ways, item.source)
    except SkipRow:
        made = Item(item.messages, texts[:1], makers[:1], ways[:1], item.source)
    return Item(item.messages, made.replies, made.models, made.samplings, item.source, item.id)


def _no_battle() -> ApiError:
    return ApiError(404, "there is no such battle, or it is over; begin another", code="not_found")
