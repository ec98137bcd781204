"""/v1/score: what a reward model makes of replies. Pairs of texts as vLLM takes them, or a conversation and its replies."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from chatwright.data.formats import FORMATS
from chatwright.data.records import Message, Prompt
from chatwright.rewards.model import RewardModel
from chatwright.serving.desk import parts
from chatwright.serving.errors import ApiError
from chatwright.serving.models import ServedModel
from chatwright.serving.notes import note_of
from chatwright.serving.openai.messages import plain_messages
from chatwright.serving.reading import read_json
from chatwright.serving.schema import SCORE
from chatwright.serving.wire import Json, while_connected

_TOGETHER = 8
Pair = tuple[Prompt, str]


async def score(request: Request) -> Response:
    """The score of every reply, brought to mean 0 and deviation 1 on the model's reference replies."""
    body = await read_json(request, SCORE)
    model: ServedModel = request.app.state.served.model(body["model"], "score")
    note = note_of(request)
    note.model = model.id
    if request.app.state.options.log_text:
        note.asked = body
    found = await while_connected(
        request.receive, _scores(model, _pairs(body), request.app.state.options.timeout)
    )
    data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(found)]
    head = {"id": f"score-{secrets.token_hex(12)}", "object": "list", "created": int(time.time())}
    return Json({**head, "model": model.id, "data": data})


async def _scores(model: ServedModel, pairs: Sequence[Pair], seconds: float) -> list[float]:
    found: list[float] = []
    async with model.desk.place(seconds):
        for part in parts(list(pairs), _TOGETHER):
            found += await model.desk.run(lambda part=part: _judge(model, part))  # type: ignore[misc]
    return found


def _judge(model: ServedModel, pairs: Sequence[Pair]) -> list[float]:
    judge = model.worker
    assert isinstance(judge, RewardModel)
    return judge([prompt for prompt, _ in pairs], [reply for _, reply in pairs])


def _pairs(body: Mapping[str, Any]) -> list[Pair]:
    """Prompts and replies. Of two lists the first belong together, and so on; one text goes with all of the other."""
    if "messages" in body:
        plain = {"messages": plain_messages(body["messages"])}
        prompt = Prompt(tuple(FORMATS["messages"].messages(plain)))
        return [(prompt, reply) for reply in body["replies"]]
    first, second = _listed(body["text_1"]), _listed(body["text_2"])
    if len(first) == 1:
        first *= len(second)
    if len(first) != len(second):
        message = f"text_1 has {len(first)} texts and text_2 {len(second)}; give as many, or one text_1"
        raise ApiError(400, message, "text_2", "invalid_value")
    return [(Prompt((Message("user", prompt),)), reply) for prompt, reply in zip(first, second, strict=True)]


def _listed(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts
