"""`fill`: the likeliest words for the gaps of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatwright.config import as_dict, at_least, option
from chatwright.generation.filling import Filler
from chatwright.recipes.verb import Place, verb


@dataclass(frozen=True)
class FillOptions:
    """How much is shown."""

    top_k: int = option(5, "words shown for every gap")

    def __post_init__(self) -> None:
        at_least(self, 1, "top_k")


@verb(FillOptions)
def fill(run: Place, text: str, options: FillOptions) -> dict[str, Any]:
    """Print the likeliest words for every [MASK] of a text, each with its chance; a run of BERT, of a decoder that learnt
    `masked`, or of XLNet."""
    masks = Filler.load(run).fill(text, options.top_k)
    for number, guesses in enumerate(masks, 1):
        if len(masks) > 1:
            print(f"mask {number}")
        for guess in guesses:
            print(f"  {guess.chance:6.1%}  {guess.token.strip() or guess.token!r}")
    return {"run": str(run), "text": text, "masks": as_dict(masks)}
