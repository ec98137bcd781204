"""Chats for fine-tuning as tokens: some to learn from, a few held out to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chatwright.corpora.documents import Tally
from chatwright.data.chats import read_chats
from chatwright.data.encode import encode_chats
from chatwright.data.records import Chat
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.recipes.stores import digest, encoding, lowest, shared_store, told
from chatwright.runs import OpenRun
from chatwright.tokenization.chat import Renderer

_SHARE_HELD_OUT = 50
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

    Which chats are held out depends on their content and the seed alone (`lowest`).
    """
    place, skipped = run.directory / "tokens", Tally()
    held = frozenset[bytes]() if validation else world.share(_lowest(chats, seed) if world.leads else None)

    def encode(records: Iterable[Chat], title: str, notes: Tally | None = None) -> Callable[[Path], None]:
        return encoding(encode_chats, records, renderer, title, "chats", notes)

    learnt = (chat for chat in read_chats(chats, skipped) if digest(chat.messages, seed) not in held)
    make = encode(learnt, "encoding chats", skipped)
    train = shared_store(world, place / "train", renderer.tokenizer, make)
    if validation is None and not held:
        return ChatSplit(train, None, [], told(train))
    make = encode(_held_out(chats, validation, held, seed), "encoding held-out chats")
    store = shared_store(world, place / "validation", renderer.tokenizer, make)
    samples = list(islice(_held_out(chats, validation, held, seed), _SAMPLES)) if world.leads else []
    return ChatSplit(train, store, samples, told(train))


def _held_out(chats: str | Path, validation: str | None, held: frozenset[bytes], seed: int) -> Iterator[Chat]:
    if validation:
        return read_chats(validation)
    return (chat for chat in read_chats(chats) if digest(chat.messages, seed) in held)


def _lowest(chats: str | Path, seed: int) -> frozenset[bytes]:
    return lowest((digest(chat.messages, seed) for chat in read_chats(chats)), _SHARE_HELD_OUT)
