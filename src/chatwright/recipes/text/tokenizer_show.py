"""`tokenizer show`: how a text splits into tokens, in colour."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from chatwright.config import option
from chatwright.progress import visible
from chatwright.recipes.text.tokenizer_rates import rate_of
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer

_COLOURS = (
    "black on #a8dadc",
    "black on #ffd6a5",
    "black on #caffbf",
    "black on #ffadad",
    "black on #cdb4db",
)


@dataclass(frozen=True)
class TokenizerShowOptions:
    """What is shown."""

    ids: bool = option(False, "the number of every token too, a token a line")


@verb(TokenizerShowOptions)
def tokenizer_show(run: Place, text: str, options: TokenizerShowOptions) -> dict[str, Any]:
    """Show how the tokenizer of a run splits a text: tokens in colours that alternate, or between bars where there are no
    colours. A token that is a part of a character is shown as its bytes."""
    directory = run.directory if isinstance(run, Run) else Path(run)
    tokenizer = Tokenizer.load(directory)
    ids = tokenizer.encode(text)
    pieces = [_spelled(tokenizer, index) for index in ids]
    if not ids:
        print(f"nothing to show: {'this tokenizer forgets white space' if text else 'the text is empty'}")
    elif options.ids:
        for index, piece in zip(ids, pieces, strict=True):
            print(f"{index:>7}  {piece}")
    elif sys.stdout.isatty():
        shown = Text()
        for number, piece in enumerate(pieces):
            shown.append(piece, style=_COLOURS[number % len(_COLOURS)])
        Console(soft_wrap=True).print(shown)
    else:
        print("|".join(pieces))
    rate = rate_of(tokenizer, [text])
    size = len(text.encode("utf-8", "replace"))
    if ids:
        said = f"{rate.bytes_per_token:.2f} bytes a token{rate.unknown_shown}"
        print(f"{len(ids):,} tokens, {size:,} bytes, {said}")
    tokens = [{"id": index, "text": piece} for index, piece in zip(ids, pieces, strict=True)]
    return {"run": str(run), "tokens": tokens, **vars(rate)}


def _spelled(tokenizer: Tokenizer, index: int) -> str:
    """A token's text on one line; bytes that are no whole character as `\\xe4`."""
    raw = tokenizer.decode_bytes([index], skip_special=False)
    text = raw.decode("utf-8", errors="backslashreplace")
    return visible(text.replace("\n", "⏎").replace("\t", "⇥")) or "∅"
