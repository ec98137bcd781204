"""Chatwright takes a folder of text to an aligned chat model of your own.

    import chatwright as cw

    corpus = cw.corpus("books/", "out/corpus")
    tok = cw.tokenizer(corpus, "out/tok", vocab_size=8192)
    base = cw.pretrain(corpus, tok, "out/base", model="qwen3-5m", minutes=10)
    chat = cw.sft(base, "chats.jsonl", "out/chat")
    for piece in cw.Chat(chat).stream("Why is the sky blue?"):
        print(piece, end="")

Every verb takes and returns runs, which are directories. Nothing heavy is imported before a verb is used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatwright.errors import UserError
    from chatwright.generation.text import Chat
    from chatwright.recipes.alignment.best_of_n import best_of_n
    from chatwright.recipes.alignment.direct.preference import dpo, kto, orpo, simpo
    from chatwright.recipes.alignment.distill import distill
    from chatwright.recipes.alignment.grpo import grpo, rloo
    from chatwright.recipes.alignment.loop.align import align
    from chatwright.recipes.alignment.ppo import ppo
    from chatwright.recipes.alignment.reward import reward
    from chatwright.recipes.alignment.score import score
    from chatwright.recipes.chat import chat
    from chatwright.recipes.embed import embed, write_embeddings
    from chatwright.recipes.fill import fill
    from chatwright.recipes.first_run.quickstart import quickstart
    from chatwright.recipes.foreign.export import export
    from chatwright.recipes.foreign.import_model import import_model
    from chatwright.recipes.generate import generate
    from chatwright.recipes.list import list_names
    from chatwright.recipes.pretrain import pretrain
    from chatwright.recipes.serve import serve
    from chatwright.recipes.sft import sft
    from chatwright.recipes.show import show
    from chatwright.recipes.text.augment import augment
    from chatwright.recipes.text.corpus import corpus
    from chatwright.recipes.text.corpus_explain import corpus_explain
    from chatwright.recipes.text.questions import questions
    from chatwright.recipes.text.tokenizer import tokenizer
    from chatwright.recipes.text.tokenizer_show import tokenizer_show
    from chatwright.recipes.translate import translate
    from chatwright.recipes.votes import votes
    from chatwright.runs import Run

_PUBLIC = {
    "Chat": "chatwright.generation.text",
    "Run": "chatwright.runs",
    "UserError": "chatwright.errors",
    "align": "chatwright.recipes.alignment.loop.align",
    "augment": "chatwright.recipes.text.augment",
    "best_of_n": "chatwright.recipes.alignment.best_of_n",
    "chat": "chatwright.recipes.chat",
    "corpus": "chatwright.recipes.text.corpus",
    "corpus_explain": "chatwright.recipes.text.corpus_explain",
    "distill": "chatwright.recipes.alignment.distill",
    "dpo": "chatwright.recipes.alignment.direct.preference",
    "export": "chatwright.recipes.foreign.export",
    "embed": "chatwright.recipes.embed",
    "fill": "chatwright.recipes.fill",
    "generate": "chatwright.recipes.generate",
    "grpo": "chatwright.recipes.alignment.grpo",
    "import_model": "chatwright.recipes.foreign.import_model",
    "kto": "chatwright.recipes.alignment.direct.preference",
    "list_names": "chatwright.recipes.list",
    "orpo": "chatwright.recipes.alignment.direct.preference",
    "ppo": "chatwright.recipes.alignment.ppo",
    "pretrain": "chatwright.recipes.pretrain",
    "questions": "chatwright.recipes.text.questions",
    "quickstart": "chatwright.recipes.first_run.quickstart",
    "reward": "chatwright.recipes.alignment.reward",
    "rloo": "chatwright.recipes.alignment.grpo",
    "score": "chatwright.recipes.alignment.score",
    "serve": "chatwright.recipes.serve",
    "sft": "chatwright.recipes.sft",
    "show": "chatwright.recipes.show",
    "simpo": "chatwright.recipes.alignment.direct.preference",
    "tokenizer": "chatwright.recipes.text.tokenizer",
    "tokenizer_show": "chatwright.recipes.text.tokenizer_show",
    "translate": "chatwright.recipes.translate",
    "votes": "chatwright.recipes.votes",
    "write_embeddings": "chatwright.recipes.embed",
}
__all__ = [
    "Chat",
    "Run",
    "UserError",
    "align",
    "augment",
    "best_of_n",
    "chat",
    "corpus",
    "corpus_explain",
    "distill",
    "dpo",
    "embed",
    "export",
    "fill",
    "generate",
    "grpo",
    "import_model",
    "kto",
    "list_names",
    "orpo",
    "ppo",
    "pretrain",
    "questions",
    "quickstart",
    "reward",
    "rloo",
    "score",
    "serve",
    "sft",
    "show",
    "simpo",
    "tokenizer",
    "tokenizer_show",
    "translate",
    "votes",
    "write_embeddings",
]

try:
    __version__ = version("chatwright")
except PackageNotFoundError:
    __version__ = "0+source"


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'chatwright' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
