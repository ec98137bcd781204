"""/v1/completions: texts in, how each goes on out, whole or as it is written."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chatwright.generation.continuous.contract import Ask
from chatwright.serving.errors import ApiError
from chatwright.serving.models import ServedModel, Writer
from chatwright.serving.notes import Note, note_of
from chatwright.serving.openai.answering import begun, streamed
from chatwright.serving.openai.asking import Scores, asks_of, check_size, check_tokens, client_of
from chatwright.serving.openai.chat import format_constraint
from chatwright.serving.openai.logprobs import completion_scores
from chatwright.serving.reading import read_json
from chatwright.serving.replies import Part, Replies
from chatwright.serving.schema import COMPLETION, MOST_CHOICES
from chatwright.serving.wire import EventStream, Json, event, while_connected


@dataclass(frozen=True)
class _Plan:
    asks: list[Ask]
    writer: Writer


async def completions(request: Request) -> Response:
    """Go on from a text or several, of words or of tokens."""
    body = await read_json(request, COMPLETION)
    model: ServedModel = request.app.state.served.model(body["model"], "completion")
    plan, replies = await begun(request, model, body, body["prompt"], _plan)
    form, note = _Form(model, body, len(plan.asks), plan.writer), note_of(request)
    if body.get("stream"):
        events = streamed(_events(replies, form, note), replies, note)
        return EventStream(events, request.app.state.options.keep_alive)
    return Json(await while_connected(request.receive, _whole(replies, form, note)))


def _plan(request: Request, body: Mapping[str, Any], writer: Writer) -> _Plan:
    prompts = _prompts(body["prompt"], writer)
    if len(prompts) * (body.get("n") or 1) > MOST_CHOICES:
        raise ApiError(400, f"prompts times n is more than {MOST_CHOICES}", "n", "invalid_value")
    wanted = body.get("logprobs")
    scores = Scores(wanted is not None, wanted or 0)
    options, client = request.app.state.options, client_of(request, body)
    constraint = format_constraint(body, writer)
    return _Plan(asks_of(body, writer, prompts, options, scores, constraint, client), writer)


def _prompts(prompt: Any, writer: Writer) -> list[list[int]]:
    """Each prompt's tokens. A text begins a document; tokens are taken as they are."""
    for text in [prompt] if isinstance(prompt, str) else prompt:
        if isinstance(text, str):
            check_size([text], "prompt", writer)
    if isinstance(prompt, str):
        return [writer.text.prompt_ids(prompt)]
    if isinstance(prompt[0], str):
        return [writer.text.prompt_ids(text) for text in prompt]
    rows: Sequence[list[int]] = [prompt] if isinstance(prompt[0], int) else prompt
    check_tokens(rows, writer.tokenizer.vocab_size, "prompt")
    return [list(row) for row in rows]


class _Form:
    """How a response is written."""

    def __init__(self, model: ServedModel, body: Mapping[str, Any], count: int, writer: Writer) -> None:
        self.id, self.created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        self.name, self.fingerprint = model.id, model.fingerprint
        self.tokenizer, self.scored = writer.tokenizer, body.get("logprobs") is not None
        self.with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self.count = count

    def response(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """A whole response, or one chunk: both are called the same here."""
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.name,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def scores(self, part: Part) -> dict[str, Any] | None:
        if not self.scored or not part.scores:
            return None
        return completion_scores(part.scores, self.tokenizer)


def _choice(
    number: int, text: str, scores: dict[str, Any] | None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": number, "text": text, "logprobs": scores, "finish_reason": finish}


async def _events(replies: Replies, form: _Form, note: Note) -> AsyncGenerator[bytes]:
    counted = {"usage": None} if form.with_usage else {}
    async with aclosing(replies.parts()) as parts:
        async for part in parts:
            note.replied.append(part.text)
            choice = _choice(part.choice, part.text, form.scores(part), part.finish)
            yield event({**form.response([choice]), **counted})
    if form.with_usage:
        yield event({**form.response([]), "usage": replies.usage})


async def _whole(replies: Replies, form: _Form, note: Note) -> dict[str, Any]:
    count = form.count
    texts: list[list[str]] = [[] for _ in range(count)]
    scores: list[dict[str, list[Any]]] = [{} for _ in range(count)]
    finishes: list[str | None] = [None] * count
    async with aclosing(replies.parts()) as parts:
        async for part in parts:
            texts[part.choice].append(part.text)
            for key, values in (form.scores(part) or {}).items():
                scores[part.choice].setdefault(key, []).extend(values)
            finishes[part.choice] = part.finish
    said = ["".join(parts) for parts in texts]
    note.replied += said
    choices = [
        _choice(
            number, said[number], _scored(scores[number], form) if form.scored else None, finishes[number]
        )
        for number in range(count)
    ]
    return {**form.response(choices), "usage": replies.usage}


def _scored(found: dict[str, list[Any]], form: _Form) -> dict[str, list[Any]]:
    return found or completion_scores([], form.tokenizer)
