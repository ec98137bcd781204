"""/v1/chat/completions: a conversation in, the assistant's next message out, whole or as it is written."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import Ask
from chatwright.serving.errors import ApiError
from chatwright.serving.models import ServedModel, Writer
from chatwright.serving.notes import Note, note_of
from chatwright.serving.openai.answering import begun, streamed
from chatwright.serving.openai.asking import Scores, asks_of, check_size, client_of
from chatwright.serving.openai.logprobs import chat_scores
from chatwright.serving.openai.messages import plain_messages
from chatwright.serving.openai.tools import CallReader, ToolRenderer, Tools, forced_call, tools_of
from chatwright.serving.reading import read_json
from chatwright.serving.replies import Part, Replies
from chatwright.serving.schema import CHAT
from chatwright.serving.wire import EventStream, Json, event, while_connected
from chatwright.tokenization.chat import Renderer

Messages = list[dict[str, Any]]
# Of the context, the share that passages leave to the reply.
_FREE_SHARE = 0.25


class Grounding(Protocol):
    """Puts passages into messages."""

    def __call__(
        self, messages: Messages, fits: Callable[[Messages], bool] | None = None
    ) -> tuple[Messages, list[dict[str, Any]]]:
        """The messages, and what they cite; `fits` says whether messages leave room for a reply. Called in a thread."""
        ...


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    body = await read_json(request, CHAT)
    model = request.app.state.served.model(body["model"], "chat")
    return await answer(request, model, body)


async def answer(
    request: Request, model: ServedModel, body: Mapping[str, Any], shown: str | None = None
) -> Response:
    """The response to a checked body; `shown` is the name under which the model speaks, its own unless given."""
    plan, replies = await begun(request, model, body, body["messages"], _plan)
    name, fingerprint = (model.id, model.fingerprint) if shown is None else (shown, None)
    form, note = _Form(name, fingerprint, plan, body), note_of(request)
    if body.get("stream"):
        events = streamed(_events(replies, form, note), replies, note)
        return EventStream(events, request.app.state.options.keep_alive)
    return Json(await while_connected(request.receive, _whole(replies, form, note)))


async def replies_to(request: Request, model: ServedModel, body: Mapping[str, Any]) -> list[str]:
    """The texts alone of the replies to a checked body."""
    plan, replies = await begun(request, model, body, body["messages"], _plan)
    form = _Form(model.id, model.fingerprint, plan, body)
    found = await while_connected(request.receive, _whole(replies, form, note_of(request)))
    return [choice["message"]["content"] or "" for choice in found["choices"]]


@dataclass(frozen=True)
class _Plan:
    asks: list[Ask]
    writer: Writer
    tools: Tools | None
    citations: list[dict[str, Any]]


def _plan(request: Request, body: Mapping[str, Any], writer: Writer) -> _Plan:
    """Everything that a request needs before the engine hears of it; takes as long as its texts are."""
    grounding: Grounding | None = request.app.state.grounding
    scores = Scores(bool(body.get("logprobs")), body.get("top_logprobs") or 0)
    if scores.top and not scores.wanted:
        raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs", "invalid_value")
    messages = plain_messages(body["messages"])
    check_size((message["content"] for message in messages), "messages", writer)
    tools = tools_of(body, writer.renderer)
    renderer = ToolRenderer(writer.renderer, tools) if tools or _has_calls(messages) else writer.renderer
    citations: list[dict[str, Any]] = []
    if body.get("documents"):
        if grounding is None:
            raise ApiError(400, "this server has no documents; start it with documents=CORPUS", "documents")
        messages, citations = grounding(messages, lambda found: _fits(renderer, found, body, writer))
    prompt = renderer.prompt(messages).tolist()
    constraint = _constraint(body, writer, tools)
    options, client = request.app.state.options, client_of(request, body)
    asks = asks_of(body, writer, [prompt], options, scores, constraint, client)
    return _Plan(asks, writer, tools, citations)


def _fits(renderer: Renderer, messages: Messages, body: Mapping[str, Any], writer: Writer) -> bool:
    """Whether there is room for a reply after messages with passages in them."""
    context = writer.engine.context
    free = int(context * _FREE_SHARE)
    wanted = body.get("max_completion_tokens") or body.get("max_tokens") or free
    return len(renderer.prompt(messages)) + min(free, wanted) <= context


def _has_calls(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(message.get("tool_calls") for message in messages)


def _constraint(body: Mapping[str, Any], writer: Writer, tools: Tools | None) -> Callable[[], Any] | None:
    """What makes a constraint for each reply; None where the reply is free."""
    wanted = body.get("response_format") or {"type": "text"}
    if tools is not None and wanted["type"] != "text":
        raise ApiError(400, "take one of tools and response_format", "response_format", "invalid_value")
    if tools is not None and tools.required:
        return _call_constraint(tools, writer)
    return format_constraint(body, writer)


def _call_constraint(tools: Tools, writer: Writer) -> Callable[[], Any]:
    """What holds a reply to one call."""
    try:
        return writer.grammars.lark(forced_call(tools, writer.renderer.template)).copy
    except UserError as error:
        # one by one, for this error tells a place in rules that the client never saw
        for name, schema in tools.schemas:
            _schema_constraint(schema, writer, "tools", f"the tool {name!r}: ")
        raise ApiError(400, str(error), "tools", "invalid_value") from error


def format_constraint(body: Mapping[str, Any], writer: Writer) -> Callable[[], Any] | None:
    """What `response_format` holds a reply to."""
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "text":
        return None
    if wanted["type"] == "json_object":
        return writer.grammars.json_object().copy
    return _schema_constraint(wanted["json_schema"]["schema"], writer, "response_format")


def _schema_constraint(
    schema: Mapping[str, Any], writer: Writer, param: str, whose: str = ""
) -> Callable[[], Any]:
    """What holds a reply to a JSON schema, which stands in the request's `param`."""
    try:
        return writer.grammars.json_schema(schema).copy
    except UserError as error:
        raise ApiError(400, f"{whose}{error}", param, "invalid_value") from error


class _Form:
    """How a response is written: what all of its chunks share, and each choice's state."""

    def __init__(self, name: str, fingerprint: str | None, plan: _Plan, body: Mapping[str, Any]) -> None:
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self.name, self.fingerprint, self.citations = name, fingerprint, plan.citations
        self.tokenizer, self.scored = plan.writer.tokenizer, bool(body.get("logprobs"))
        self.with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        template = plan.writer.renderer.template
        self.readers = [CallReader(plan.tools, template) if plan.tools else None for _ in plan.asks]

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that begin a response and each of its chunks."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.name,
            "system_fingerprint": self.fingerprint,
        }

    def chunk(self, choices: list[dict[str, Any]], usage: object = None, **more: Any) -> bytes:
        """One event of a stream."""
        counted = {"usage": usage} if self.with_usage else {}
        return event({**self.head("chat.completion.chunk"), "choices": choices, **counted, **more})

    def split(self, part: Part) -> tuple[str, list[dict[str, Any]], str | None]:
        """A part as text, calls and the reason to finish."""
        reader = self.readers[part.choice]
        if reader is None:
            return part.text, [], part.finish
        before = reader.calls
        text, calls = reader.feed(part.text)
        if part.finish is not None:
            rest, last = reader.flush()
            text, calls = text + rest, calls + last
        numbered = [{"index": before + place, **call.public} for place, call in enumerate(calls)]
        is_call = part.finish == "stop" and reader.calls > 0
        return text, numbered, "tool_calls" if is_call else part.finish

    def scores(self, part: Part) -> dict[str, Any] | None:
        return chat_scores(part.scores, self.tokenizer) if self.scored and part.scores else None


async def _events(replies: Replies, form: _Form, note: Note) -> AsyncGenerator[bytes]:
    """The stream: each choice's role, its pieces, its end; the usage."""
    cited = {"citations": form.citations} if form.citations else {}
    for number in range(len(form.readers)):
        role = {"role": "assistant", "content": ""}
        yield form.chunk([_choice(number, role)], **cited)
    async with aclosing(replies.parts()) as parts:
        async for part in parts:
            text, calls, finish = form.split(part)
            note.replied.append(text)
            delta: dict[str, Any] = {
                **({"content": text} if text else {}),
                **({"tool_calls": calls} if calls else {}),
            }
            scores = form.scores(part)
            if delta or scores:
                yield form.chunk([_choice(part.choice, delta, scores)])
            if finish is not None:
                yield form.chunk([_choice(part.choice, {}, None, finish)])
    if form.with_usage:
        yield form.chunk([], replies.usage)


def _choice(
    number: int, delta: Mapping[str, Any], scores: dict[str, Any] | None = None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": scores, "finish_reason": finish}


async def _whole(replies: Replies, form: _Form, note: Note) -> dict[str, Any]:
    """The response in one piece."""
    count = len(form.readers)
    texts: list[list[str]] = [[] for _ in range(count)]
    calls: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    scores: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    finishes: list[str | None] = [None] * count
    async with aclosing(replies.parts()) as parts:
        async for part in parts:
            text, called, finish = form.split(part)
            texts[part.choice].append(text)
            calls[part.choice] += [{key: call[key] for key in call if key != "index"} for call in called]
            scores[part.choice] += (form.scores(part) or {"content": []})["content"]
            finishes[part.choice] = finish
    choices = []
    for number in range(count):
        said = "".join(texts[number])
        note.replied.append(said)
        message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
        if calls[number]:
            message |= {"content": said or None, "tool_calls": calls[number]}
        scored = {"content": scores[number], "refusal": None} if form.scored else None
        choices.append(
            {"index": number, "message": message, "logprobs": scored, "finish_reason": finishes[number]}
        )
    cited = {"citations": form.citations} if form.citations else {}
    return {**form.head("chat.completion"), "choices": choices, "usage": replies.usage, **cited}
