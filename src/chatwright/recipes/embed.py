"""`embed`: a vector for every text."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from chatwright.config import at_least, option
from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.raw import TEXT_TYPES, is_known, kind
from chatwright.corpora.reading.read import Source, discover, read
from chatwright.errors import UserError
from chatwright.files import atomic_write, writing, written_aside
from chatwright.generation.embedding import Embedder
from chatwright.progress import Bar, bar, say
from chatwright.recipes.verb import Place, verb

# Texts that are sorted by length together.
_WINDOW = 8192


@dataclass(frozen=True)
class EmbedOptions:
    """How a text becomes a vector."""

    pooling: Literal["mean", "cls", "last"] | None = option(
        None, "what of a text is read: mean, cls or last; what the run says"
    )
    normalize: bool = option(True, "whether vectors have length 1")
    batch: int = option(32, "texts that go through the model together")

    def __post_init__(self) -> None:
        at_least(self, 1, "batch")


def embed(run: Place, texts: str | Sequence[str], **options: Any) -> NDArray[np.float32]:
    """The vectors of some texts, float32 [texts, width], of one text [width]; `pooling`, `normalize` and `batch` as on
    the command line."""
    chosen = EmbedOptions(**options)
    embedder = Embedder.load(run, chosen.pooling, chosen.normalize)
    found = embedder.embed([texts] if isinstance(texts, str) else texts, chosen.batch)
    return found[0] if isinstance(texts, str) else found


@verb(EmbedOptions)
def write_embeddings(
    run: Place,
    inputs: str | Sequence[str],
    out: str | Path | None = None,
    options: EmbedOptions = EmbedOptions(),
) -> dict[str, Any]:
    """Write a vector for every line of a text file, every row's text of JSON Lines or Parquet, or the words given: JSON Lines to -o (or printed), or an array where the name ends in .npy. Any run that reads text."""
    given = [inputs] if isinstance(inputs, str) else list(inputs)
    skipped = Tally()
    texts = _texts(given, skipped)
    embedder = Embedder.load(run, options.pooling, options.normalize)
    is_array = out is not None and str(out).endswith(".npy")
    with bar("embedding") as shown, written_aside(None if is_array or out is None else str(out)) as file:
        found = _windows(embedder, texts, options.batch, shown)
        count, parts = 0, []
        for window, vectors_NW in found:
            count += len(window)
            if is_array:
                parts.append(vectors_NW)
            else:
                _write_lines(window, vectors_NW, file)
        if not count:
            raise UserError(f"there is no text in {', '.join(given)}")
    if is_array:
        _write_array(Path(str(out)), np.concatenate(parts))
    width = embedder.model.options.width
    said = {"count": count, "width": width, "pooling": embedder.pooling, "cut": embedder.cut}
    _tell(said, embedder.longest, skipped)
    return {"run": str(run), "out": None if out is None else str(out), **said}


def _texts(inputs: Sequence[str], skipped: Tally) -> Iterator[str]:
    """The lines, rows and words that the inputs are."""
    for word in inputs:
        path = Path(word)
        if os.path.lexists(word):
            yield from _of_files(discover([word], skipped), skipped)
        elif is_known(path) and not any(map(str.isspace, word)):
            raise UserError(
                f"there is no file {word}; to embed these words as they are, write a space behind them"
            )
        else:
            yield word


def _of_files(sources: Sequence[Source], skipped: Tally) -> Iterator[str]:
    for source in sources:
        by_line = source.path is not None and kind(source.path)[0] in TEXT_TYPES
        for document in read([source], skipped):
            whole = document.text
            for text in whole.removesuffix("\n").split("\n") if by_line else [whole]:
                if text.strip():
                    yield text.removesuffix("\r")
                else:
                    skipped.add("blank text", document.id)


def _windows(
    embedder: Embedder, texts: Iterator[str], batch: int, shown: Bar
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    done = 0

    def progress(now: int) -> None:
        shown.update(done + now)

    while window := list(islice(texts, _WINDOW)):
        yield window, embedder.embed(window, batch, progress)
        done += len(window)


def _write_lines(texts: Sequence[str], vectors_NW: NDArray[np.float32], file: IO[str] | None) -> None:
    for text, vector in zip(texts, vectors_NW.tolist(), strict=True):
        # nine digits are all that a float32 has
        row = {"text": text, "embedding": [float(f"{value:.9g}") for value in vector]}
        print(json.dumps(row, ensure_ascii=False), file=file or sys.stdout)


def _write_array(path: Path, vectors_NW: NDArray[np.float32]) -> None:
    content = io.BytesIO()
    np.save(content, vectors_NW)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content.getvalue())


def _tell(said: dict[str, Any], longest: int, skipped: Tally) -> None:
    say(f"  {said['count']:,} texts, {said['width']} numbers each ({said['pooling']})")
    if said["cut"]:
        say(f"  {said['cut']:,} texts were longer than {longest:,} tokens and were cut")
    for reason, times in skipped.items():
        say(f"  left out: {times:,} × {reason}")
