"""Train and use tokenizers, and turn conversations into tokens; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "SPECIAL_TOKENS": "special",
    "CHAT_TEMPLATE": "template",
    "Tokenizer": "tokenizer",
    "TokenizerOptions": "train",
    "VocabularyTooLarge": "train",
    "train_tokenizer": "train",
    "Utf8Stream": "stream",
    "Rendered": "chat",
    "Renderer": "chat",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
