"""Encoded text for training verbs: made once, by the first process, and shared."""

from __future__ import annotations

import fcntl
import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatwright.corpora.documents import Tally
from chatwright.corpora.store import count, documents
from chatwright.data.encode import encode_documents
from chatwright.data.records import Message
from chatwright.data.store import TokenStore
from chatwright.distributed.launch import World
from chatwright.progress import bar
from chatwright.recipes.text.corpus import TEXT
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


FEWEST_TO_SPLIT = 20
MOST_HELD_OUT = 1000


def lowest(digests: Iterable[bytes], share: int) -> frozenset[bytes]:
    """Of distinct digests the lowest, one in `share` but at most 1,000; none of fewer than 20.

    What is held out so depends on its content and the seed alone, and is nowhere learnt from, however often it stands
    in the file.
    """
    found = set(digests)
    if len(found) < FEWEST_TO_SPLIT:
        return frozenset()
    return frozenset(heapq.nsmallest(min(MOST_HELD_OUT, max(1, len(found) // share)), found))


def encoding(
    encode: Callable[..., Any],
    records: Iterable[Any],
    by: Any,
    title: str,
    unit: str,
    skipped: Tally | None = None,
) -> Callable[[Path], None]:
    """What writes `encode(records, by, directory)` under a bar that counts `unit`, with what was skipped beside it.

    `skipped` is filled while the records are read.
    """
    notes = Tally() if skipped is None else skipped

    def make(directory: Path) -> None:
        with bar(title) as shown:
            encode(
                records,
                by,
                directory,
                on_progress=lambda done, _: shown.update(done, f"{done:,} {unit}"),
                facts=lambda: {"skipped": {k: [n, notes.places[k]] for k, n in notes.items()}},
            )

    return make


def told(store: TokenStore) -> dict[str, tuple[int, str]]:
    """What was skipped when the store was written, with the first place of each."""
    return {reason: (count, place) for reason, (count, place) in store.info.get("skipped", {}).items()}


def digest(messages: Sequence[Message], seed: int) -> bytes:
    """A number for a conversation by which conversations are put in an order that looks random."""
    content = json.dumps([seed, [[m.role, m.content] for m in messages]])
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()
