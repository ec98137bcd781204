"""The documents as a part of the server: the passages of a corpus, opened one by one, and put before questions."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatwright.progress import say
from chatwright.serving.app import Part
from chatwright.serving.documents.library import DocumentOptions, Library
from chatwright.serving.documents.passages import Passage
from chatwright.serving.documents.prompt import Grounding
from chatwright.serving.errors import ApiError
from chatwright.serving.openapi import gives
from chatwright.serving.schema import group, maybe, text, whole
from chatwright.serving.wire import Json

# No index holds more, and no database takes larger numbers.
_LARGEST = 2**31


def open_part(options: DocumentOptions) -> Part:
    """The part with its index, which is made now where it is not there yet. Nothing where no documents are given."""
    if options.documents is None:
        return Part()
    library = Library.open(options.documents, options.passage_size, options.embedder)
    how = "by words" if options.embedder is None else "by words and by meaning"
    say(f"  answers look up {len(library):,} passages of {options.documents} {how}")
    return part(library, options.passages)


def part(library: Library, wanted: int = 4) -> Part:
    """The part over a library that is open."""
    return Part(routes(library), _PATHS, {"documents": True}, Grounding(library, wanted))


def routes(library: Library) -> list[Route]:
    """A passage by its id, with its neighbours in the document."""

    async def passage(request: Request) -> Response:
        id = request.path_params["id"]
        found = await asyncio.to_thread(library.passage, id) if id < _LARGEST else None
        if found is None:
            raise ApiError(404, "there is no such passage", code="not_found")
        before, after = await asyncio.to_thread(library.around, id)
        shown = {"id": found.id, "title": found.title, "source": found.source, "text": found.text}
        return Json({**shown, "before": _near(before), "after": _near(after)})

    return [Route("/api/documents/{id:int}", passage)]


def _near(passage: Passage | None) -> dict[str, Any] | None:
    return None if passage is None else {"id": passage.id, "text": passage.text}


_NEAR = maybe(group({"id": whole(1), "text": text()}, ("id", "text")))
_PASSAGE = group(
    {"id": whole(1), "title": text(), "source": text(), "text": text(), "before": _NEAR, "after": _NEAR},
    ("id", "title", "source", "text", "before", "after"),
)
_PATHS: dict[str, Any] = {
    "/api/documents/{id}": {
        **gives("a passage with its neighbours", _PASSAGE, 404),
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": whole(0)}],
    }
}
