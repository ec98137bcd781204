"""The routes under /v1."""

from __future__ import annotations

from starlette.routing import Route

from chatwright.serving.openai.chat import chat_completions
from chatwright.serving.openai.completions import completions
from chatwright.serving.openai.embeddings import embeddings
from chatwright.serving.openai.models import list_models, show_model
from chatwright.serving.openai.score import score

ROUTES = (
    Route("/v1/models", list_models),
    Route("/v1/models/{name:path}", show_model),
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/score", score, methods=["POST"]),
)
