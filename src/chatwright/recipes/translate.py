"""`translate`: turn texts into what a model of pairs makes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.errors import UserError
from chatwright.files import written_aside
from chatwright.generation.beam import BeamOptions
from chatwright.generation.translation import Translator
from chatwright.progress import bar, say, visible
from chatwright.recipes.verb import Place, verb


@dataclass(frozen=True)
class TranslateOptions(BeamOptions):
    """How translations are searched for."""


@verb(TranslateOptions)
def translate(
    run: Place,
    texts: str | Sequence[str],
    out: str | None = None,
    options: TranslateOptions = TranslateOptions(),
) -> dict[str, Any]:
    """Translate texts, or a file line by line, with a model made by `pretrain … objective=seq2seq`; -o writes a file."""
    sources = _sources([texts] if isinstance(texts, str) else list(texts))
    translator = Translator.load(run)
    begun = time.perf_counter()
    with bar("translating", len(sources)) as shown:
        found = translator.translate(sources, options, shown.update)
    seconds = round(time.perf_counter() - begun, 2)
    # a line stays a line, so that both files go side by side
    lines = [" ".join(text.splitlines()) for text in found]
    with written_aside(out) as written:
        for line in lines:
            if written is not None:
                written.write(line + "\n")
            else:
                print(visible(line))
    if out is not None:
        say(f"  {len(lines):,} lines in {seconds:.1f} s: {out}")
    return {"run": str(run), "translations": lines, "seconds": seconds}


def _sources(texts: list[str]) -> list[str]:
    """The texts, or the lines of the one file that is named."""
    # a text may be too long for a name, which pathlib does not forgive
    if len(texts) != 1 or not os.path.isfile(texts[0]):  # noqa: PTH113
        return texts
    try:
        return Path(texts[0]).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{texts[0]} is not UTF-8 text; convert it (iconv -f ENCODING -t UTF-8)") from None
