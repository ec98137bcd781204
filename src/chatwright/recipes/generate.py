"""`generate`: go on from a prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.config import option
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel
from chatwright.progress import visible
from chatwright.recipes.verb import Place, verb


@dataclass(frozen=True)
class WritingOptions(SamplingOptions):
    """How to choose tokens, and how to compute them."""

    compile: bool = option(False, "build the decoding step with a C++ compiler: faster")


@verb(WritingOptions)
def generate(run: Place, prompts: str | Sequence[str], options: WritingOptions) -> dict[str, Any]:
    """Print how a model goes on from a prompt, as it is written; several prompts one after another."""
    model = TextModel.load(run, compiled=options.compile)
    texts: list[str] = []
    begun = time.perf_counter()
    for prompt in [prompts] if isinstance(prompts, str) else prompts:
        print(visible(prompt), end="", flush=True)
        pieces = []
        for piece in model.complete(prompt, options):
            print(visible(piece), end="", flush=True)
            pieces.append(piece)
        print()
        texts.append("".join(pieces))
    return {"run": str(run), "completions": texts, "seconds": round(time.perf_counter() - begun, 2)}
