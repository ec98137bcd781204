"""How often each input stands in training: epochs as they are wished, or such that it has a share of the text.

Repeating text up to four times is nearly as good as new text, and more is worth less and less (Muennighoff et al. 2023,
"Scaling Data-Constrained Language Models").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from chatwright.errors import UserError, did_you_mean

WORTHWHILE = 4.0
"""Epochs past which repeated text adds little."""

_MOST = 1000.0


@dataclass(frozen=True)
class Wish:
    """How often, or which share (0 to 1) of the training text; one of them is None."""

    epochs: float | None = None
    share: float | None = None


def wish(value: str | float, key: str) -> Wish:
    """Read `2.5` (epochs) or `30%` (a share). Raises UserError that names `key` for anything else."""
    text = str(value).strip()
    refusal = UserError(f"{key}={value} is neither epochs from 0 to 1000, as 2.5, nor a share, as 30%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise refusal from None
    if text.endswith("%"):
        if not 0 <= number <= 100:
            raise refusal
        return Wish(share=number / 100)
    if not 0 <= number <= _MOST:
        raise refusal
    return Wish(epochs=number)


def epochs(sizes: Mapping[str, int], wishes: Mapping[str, Wish]) -> dict[str, float]:
    """The epochs of each input (or language), from how large each is (in any unit) and what is wished of some.

    What nothing is wished of stands once. Shares are of the result: `{a: 60, b: 40}` with 50 % wished of b gives b
    1.5 epochs. Where shares are wished of all, the result is as large as all inputs, and the shares must make 100 %.
    Raises UserError for what cannot be.
    """
    for name in wishes:
        if name not in sizes:
            raise UserError(f"mix.{name}: no input or language is called so{did_you_mean(name, sizes)}")
    shares = {name: asked.share for name, asked in wishes.items() if asked.share is not None}
    found = {name: _asked(wishes.get(name)) for name in sizes if name not in shares}
    rest = sum(Fraction(found[name]) * sizes[name] for name in found)
    total_share = sum(Fraction(str(share)) for share in shares.values())
    empty = [name for name, share in shares.items() if share and not sizes[name]]
    if empty:
        raise UserError(f"mix.{empty[0]} is to have a share, but nothing of it is left; leave it out")
    if rest and total_share >= 1:
        raise UserError(
            f"mix: the shares make {float(total_share):.0%} and leave no room for {_named(found)}"
        )
    if not rest and shares and total_share != 1:
        raise UserError(
            f"mix: the shares make {float(total_share):.0%}; with shares of all text they must make 100%"
        )
    total = rest / (1 - total_share) if rest else Fraction(sum(sizes.values()))
    for name, share in shares.items():
        found[name] = float(Fraction(str(share)) * total / sizes[name]) if share else 0.0
    return {name: found[name] for name in sizes}


def _asked(asked: Wish | None) -> float:
    return 1.0 if asked is None or asked.epochs is None else asked.epochs


def _named(names: Mapping[str, float]) -> str:
    return ", ".join(sorted(names))
