"""Chats for fine-tuning as tokens: some to learn from, a few held out to measure on."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.data.chats import read_chats
from chatwright.data.encode import encode_chats
from chatwright.data.records import Chat
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.progress import bar
from chatwright.recipes.stores import digest, shared_store
from chatwright.runs import OpenRun
from chatwright.tokenization.chat import Renderer

_SHARE_HELD_OUT = 50
_MOST_HELD_OUT = 1000
_FEWEST_TO_SPLIT = 20
_SAMPLES = 16


@dataclass(frozen=True)
class ChatSplit:
    """Token stores of both sides; a few held-out chats as text; what was skipped, with the first place of each."""

    train: TokenStore
    validation: TokenStore | None
    samples: list[Chat]
    skipped: dict[str, tuple[int, str]]

    @property
    def held_out(self) -> str:
        return f"{self.validation.num_documents:,}" if self.validation else "none (too few chats)"


def chat_stores(
    world: World, run: OpenRun, chats: str | Path, validation: str | None, renderer: Renderer, seed: int
) -> ChatSplit:
    """Encode chats into the run, once; with fewer than 20 chats and no validation file nothing is held out.

    Which chats are held out depends on their content and the seed alone; a chat that is held out is nowhere learnt
    from, however often the file has it.
    """
    place = run.directory / "tokens"
    held = frozenset[bytes]() if validation else world.share(_lowest(chats, seed) if world.leads else None)
    skipped = Tally()

    def encode(records: Iterable[Chat], title: str, notes: Tally) -> Any:
        def make(directory: Path) -> None:
            with bar(title) as shown:
                encode_chats(
                    records,
                    renderer,
                    directory,
                    on_progress=lambda done, _: shown.update(done, f"{done:,} chats"),
                    facts=lambda: {
                        "skipped": {reason: [n, notes.places[reason]] for reason, n in notes.items()}
                    },
                )

        return make

    learnt = (chat for chat in read_chats(chats, skipped) if digest(chat.messages, seed) not in held)
    train = shared_store(
        world, place / "train", renderer.tokenizer, encode(learnt, "encoding chats", skipped)
    )
    measured = _held_out(chats, validation, held, seed)
    if validation is None and not held:
        return ChatSplit(train, None, [], _told(train))
    make = encode(measured, "encoding held-out chats", Tally())
    store = shared_store(world, place / "validation", renderer.tokenizer, make)
    samples = list(islice(_held_out(chats, validation, held, seed), _SAMPLES)) if world.leads else []
    return ChatSplit(train, store, samples, _told(train))


def _held_out(chats: str | Path, validation: str | None, held: frozenset[bytes], seed: int) -> Iterator[Chat]:
    if validation:
        return read_chats(validation)
    return (chat for chat in read_chats(chats) if digest(chat.messages, seed) in held)


def _lowest(chats: str | Path, seed: int) -> frozenset[bytes]:
    """The digests of the fiftieth of all chats (at most 1,000) whose digests are lowest; none of a small file."""
    digests = {digest(chat.messages, seed) for chat in read_chats(chats)}
    if len(digests) < _FEWEST_TO_SPLIT:
        return frozenset()
    return frozenset(heapq.nsmallest(min(_MOST_HELD_OUT, max(1, len(digests) // _SHARE_HELD_OUT)), digests))


def _told(store: TokenStore) -> dict[str, tuple[int, str]]:
    return {reason: (count, place) for reason, (count, place) in store.info.get("skipped", {}).items()}
