"""/api/translate: texts in one language in, in the other out."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from chatwright.generation.beam import BeamOptions
from chatwright.generation.translation import Translator
from chatwright.serving.desk import parts
from chatwright.serving.models import ServedModel
from chatwright.serving.notes import note_of
from chatwright.serving.openai.asking import wanted_tokens
from chatwright.serving.reading import read_json
from chatwright.serving.schema import TRANSLATE
from chatwright.serving.wire import Json, while_connected

_TOGETHER = 4


async def translate(request: Request) -> Response:
    """The translation of every text, in their order; lines are translated by themselves and stay lines."""
    body = await read_json(request, TRANSLATE)
    model: ServedModel = request.app.state.served.model(body["model"], "translation")
    note, given = note_of(request), body["text"]
    note.model = model.id
    texts = [given] if isinstance(given, str) else given
    if request.app.state.options.log_text:
        note.asked = texts
    options = BeamOptions(
        beams=body.get("beams") or 4,
        max_new_tokens=wanted_tokens(body, request.app.state.options),
        length_penalty=1.0 if body.get("length_penalty") is None else body["length_penalty"],
    )
    found = await while_connected(
        request.receive, _translations(model, texts, options, request.app.state.options.timeout)
    )
    return Json({"model": model.id, "translations": found})


async def _translations(
    model: ServedModel, texts: Sequence[str], options: BeamOptions, seconds: float
) -> list[str]:
    lines = [line for text in texts for line in text.splitlines() or [""]]
    found: list[str] = []
    async with model.desk.place(seconds):
        for part in parts(lines, _TOGETHER):
            found += await model.desk.run(lambda part=part: _translate(model, part, options))  # type: ignore[misc]
    left = iter(found)
    return ["\n".join(next(left) for _ in text.splitlines() or [""]) for text in texts]


def _translate(model: ServedModel, lines: Sequence[str], options: BeamOptions) -> list[str]:
    translator = model.worker
    assert isinstance(translator, Translator)
    return translator.translate(lines, options)
