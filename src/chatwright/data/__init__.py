"""Records, row formats, the token store and packing; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Document": "records",
    "Message": "records",
    "Chat": "records",
    "SkipRow": "formats",
    "chat_of": "formats",
    "read_chats": "chats",
    "TokenStore": "store",
    "write_store": "store",
    "encode_chats": "encode",
    "encode_documents": "encode",
    "IGNORE": "packing",
    "PADDING": "packing",
    "Packed": "packing",
    "PackedRows": "packing",
    "Packing": "packing",
    "RowOrder": "packing",
    "SequentialRows": "packing",
    "StreamRows": "packing",
    "global_row": "packing",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
