"""/v1/models: what is served."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from chatwright.serving.models import Served
from chatwright.serving.wire import Json


async def list_models(request: Request) -> Response:
    """Every model that is ready."""
    served: Served = request.app.state.served
    return Json({"object": "list", "data": [model.described for model in served.models.values()]})


async def show_model(request: Request) -> Response:
    """One model."""
    served: Served = request.app.state.served
    name = request.path_params["name"]
    if name not in served.models:
        raise served.unknown(name)
    return Json(served.models[name].described)
