"""Records, row formats, the token store and packing; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Document": "records",
    "Message": "records",
    "Chat": "records",
    "Comparison": "records",
    "LabelledReply": "records",
    "Prompt": "records",
    "Group": "groups",
    "Reply": "groups",
    "SkipRow": "formats",
    "chat_of": "formats",
    "read_chats": "chats",
    "comparison_of": "preferences",
    "labelled_from": "preferences",
    "labelled_of": "preferences",
    "prompt_of": "preferences",
    "read_comparisons": "preferences",
    "read_labelled": "preferences",
    "read_prompts": "preferences",
    "TokenStore": "store",
    "write_store": "store",
    "encode_chats": "encode",
    "encode_documents": "encode",
    "GroupRows": "group_store",
    "GroupStore": "group_store",
    "ReplyIds": "encode_groups",
    "encode_comparisons": "encode_groups",
    "encode_labelled": "encode_groups",
    "replies_ids": "encode_groups",
    "reply_ids": "encode_groups",
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
