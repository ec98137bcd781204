"""Texts and conversations into token stores, encoded in batches so that every processor works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.data.records import Chat
from chatwright.data.store import TokenStore, write_store
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer

OnProgress = Callable[[int, int], None]

_BATCH_CHARACTERS = 1 << 22
_BATCH_CHATS = 2048


def encode_documents(
    texts: Iterable[str],
    tokenizer: Tokenizer,
    directory: str | Path,
    on_progress: OnProgress | None = None,
    facts: Callable[[], Mapping[str, Any]] | None = None,
) -> TokenStore:
    """A store with each text as `<|endoftext|>` and its ids.

    `on_progress(documents, bytes of text)` is called after each batch.
    """
    totals = Counter[str]()

    def documents() -> Iterator[tuple[NDArray[np.int32], None]]:
        begin = np.array([tokenizer.endoftext], dtype=np.int32)
        for batch in batches(texts, _BATCH_CHARACTERS):
            for ids in tokenizer.encode_batch(batch):
                totals["text_bytes"] += int(tokenizer.token_bytes[ids].sum())
                yield np.concatenate([begin, ids]), None
            totals["documents"] += len(batch)
            if on_progress:
                on_progress(totals["documents"], totals["text_bytes"])

    return write_store(
        directory,
        documents(),
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.digest,
        facts=lambda: {"text_bytes": totals["text_bytes"], **(facts() if facts else {})},
    )


def encode_chats(
    chats: Iterable[Chat],
    renderer: Renderer,
    directory: str | Path,
    on_progress: OnProgress | None = None,
    facts: Callable[[], Mapping[str, Any]] | None = None,
) -> TokenStore:
    """A store with each conversation's ids and the mask of what is learnt.

    `store.json` counts `text_bytes` (all) and `learnt_bytes`. A conversation that cannot be rendered, or
    whose mask is empty, is refused as a `UserError` that names its place. `on_progress(conversations, bytes
    of text)` is called after each batch.
    """
    totals = Counter[str]()
    sizes = renderer.tokenizer.token_bytes

    def documents() -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        stream = iter(chats)
        while batch := list(islice(stream, _BATCH_CHATS)):
            place = partial(_place, batch, totals["chats"])
            for rendered in renderer.render_batch([chat.messages for chat in batch], place):
                per_token = sizes[rendered.ids]
                totals["text_bytes"] += int(per_token.sum())
                totals["learnt_bytes"] += int(per_token[rendered.mask].sum())
                yield rendered.ids, rendered.mask
            totals["chats"] += len(batch)
            if on_progress:
                on_progress(totals["chats"], totals["text_bytes"])

    return write_store(
        directory,
        documents(),
        vocab_size=renderer.tokenizer.vocab_size,
        tokenizer=renderer.tokenizer.digest,
        facts=lambda: {
            "text_bytes": totals["text_bytes"],
            "learnt_bytes": totals["learnt_bytes"],
            **(facts() if facts else {}),
        },
    )


def batches(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Neighbouring texts in lists of at least `characters` characters, the last one perhaps shorter."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _place(batch: Sequence[Chat], before: int, index: int) -> str:
    return batch[index].source or f"chat {before + index + 1}"
