"""/v1/embeddings: a vector for every text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from chatwright.generation.embedding import Embedder
from chatwright.serving.desk import parts
from chatwright.serving.errors import ApiError
from chatwright.serving.models import ServedModel
from chatwright.serving.notes import Note, note_of
from chatwright.serving.openai.asking import check_tokens
from chatwright.serving.reading import read_json
from chatwright.serving.schema import EMBEDDINGS
from chatwright.serving.wire import Json, while_connected

_TOGETHER = 16


async def embeddings(request: Request) -> Response:
    """The vectors of some texts, in their order; a text that is too long is cut, and `usage` counts what was read."""
    body = await read_json(request, EMBEDDINGS)
    model: ServedModel = request.app.state.served.model(body["model"], "embedding")
    note = note_of(request)
    note.model = model.id
    found = body["input"]
    given: list[Any] = [found] if isinstance(found, str) or isinstance(found[0], int) else list(found)
    if request.app.state.options.log_text:
        note.asked = given
    work = _vectors(model, given, body.get("dimensions"), note, request.app.state.options.timeout)
    vectors_NW = await while_connected(request.receive, work)
    as_text = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(row) if as_text else row.tolist()}
        for index, row in enumerate(vectors_NW)
    ]
    usage = {"prompt_tokens": note.prompt_tokens, "total_tokens": note.prompt_tokens}
    return Json({"object": "list", "data": data, "model": model.id, "usage": usage})


async def _vectors(
    model: ServedModel, given: Sequence[Any], width: int | None, note: Note, seconds: float
) -> NDArray[np.float32]:
    """Vectors, float32 [texts, width]; a smaller `width` than the model's keeps the first numbers, at length 1."""
    found = []
    async with model.desk.place(seconds):
        await model.desk.run(lambda: _check(model, given))
        for part in parts(list(given), _TOGETHER):
            vectors, tokens = await model.desk.run(lambda part=part: _embed(model, part))  # type: ignore[misc]
            found.append(vectors)
            note.prompt_tokens += tokens
    vectors_NW = np.concatenate(found)
    if width is None or width == vectors_NW.shape[1]:
        return vectors_NW
    if width > vectors_NW.shape[1]:
        message = f"dimensions={width} is more than the model's {vectors_NW.shape[1]}"
        raise ApiError(400, message, "dimensions", "invalid_value")
    cut_NW = vectors_NW[:, :width]
    lengths_N1 = np.linalg.norm(cut_NW, axis=1, keepdims=True)
    return np.asarray(cut_NW / np.maximum(lengths_N1, 1e-12), dtype=np.float32)


def _check(model: ServedModel, given: Sequence[Any]) -> None:
    rows = [row for row in given if not isinstance(row, str)]
    if rows:
        check_tokens(rows, _embedder(model).tokenizer.vocab_size, "input")


def _embed(model: ServedModel, given: Sequence[Any]) -> tuple[NDArray[np.float32], int]:
    embedder = _embedder(model)
    texts = [text if isinstance(text, str) else embedder.tokenizer.decode(text) for text in given]
    longest = embedder.longest
    tokens = sum(min(len(ids) + 1, longest) for ids in embedder.tokenizer.encode_batch(texts))
    return embedder.embed(texts), tokens


def _embedder(model: ServedModel) -> Embedder:
    embedder = model.worker
    assert isinstance(embedder, Embedder)
    return embedder


def _base64(row: NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
