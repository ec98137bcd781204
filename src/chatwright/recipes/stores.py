"""Encoded text for training verbs: made once, by the first process, and shared."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chatwright.corpora.store import count, documents
from chatwright.data.encode import encode_documents
from chatwright.data.records import Message
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.progress import bar
from chatwright.recipes.corpus import TEXT
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer


def corpus_stores(world: World, corpus: Run, tokenizer: Tokenizer) -> tuple[TokenStore, TokenStore]:
    """The training and the validation side of a corpus as tokens; kept beside its text for the next run."""
    place = corpus.directory / f"tokens-{tokenizer.digest[:12]}"

    def encode(side: str) -> Callable[[Path], None]:
        def make(directory: Path) -> None:
            total = count(corpus.directory / TEXT, side)  # type: ignore[arg-type]
            with bar(f"encoding {side} text", total) as shown:
                texts = documents(corpus.directory / TEXT, side)  # type: ignore[arg-type]
                encode_documents(
                    texts,
                    tokenizer,
                    directory,
                    on_progress=lambda done, size: shown.update(done, f"{size / 1e6:,.0f} MB"),
                )

        return make

    train = shared_store(world, place / "train", tokenizer, encode("train"))
    return train, shared_store(world, place / "validation", tokenizer, encode("validation"))


def shared_store(
    world: World, directory: Path, tokenizer: Tokenizer, make: Callable[[Path], None]
) -> TokenStore:
    """Open the store at `directory`; the first process makes it when it is not there, the others wait."""
    if world.leads:
        with locked(directory):
            if not directory.is_dir():
                make(directory)
    world.wait()
    return TokenStore.open(directory, tokenizer.digest)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Two commands that encode the same corpus take turns; the second finds the work done."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(messages: Sequence[Message], seed: int) -> bytes:
    """A number for a conversation by which conversations are put in an order that looks random."""
    content = json.dumps([seed, [[m.role, m.content] for m in messages]])
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()
