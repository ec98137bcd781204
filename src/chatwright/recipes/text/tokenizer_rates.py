"""How well a tokenizer serves a text: bytes a token and unknown words, by language and by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatwright.progress import say
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import UNKNOWN

_SHOWN = 8
_MUCH = 0.01


@dataclass(frozen=True)
class Measured:
    """A text that compression is measured on; empty where its language or source is not known."""

    text: str
    language: str
    source: str


@dataclass(frozen=True)
class Rate:
    """Bytes of text that one token stands for on average, and the share of tokens that stand for unknown words."""

    bytes_per_token: float
    unknown_tokens: float

    @property
    def unknown_shown(self) -> str:
        """The share of unknown tokens as it stands after a rate; "" where there are none."""
        return f" ({self.unknown_tokens:.2%} unknown)" if self.unknown_tokens else ""


def rate_of(tokenizer: Tokenizer, texts: Sequence[str]) -> Rate:
    """How `texts` are encoded, to four digits."""
    encoded = tokenizer.encode_batch(texts)
    tokens = max(1, sum(map(len, encoded)))
    name = tokenizer.named_tokens.get("unk_token", UNKNOWN)
    index = tokenizer.special_tokens.get(name)
    unknown = 0 if index is None else sum(int((ids == index).sum()) for ids in encoded)
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return Rate(round(size / tokens, 4), round(unknown / tokens, 4))


def tell_rates(
    tokenizer: Tokenizer,
    what: str,
    measured: Sequence[Measured],
    trained_on: Mapping[str, Sequence[Measured]],
) -> dict[str, Any]:
    """Say how the texts of `measured` (called `what`) are encoded, all and by language and source; returns it as JSON.

    `trained_on` has texts of the languages and of the sources that `measured` has nothing of.
    """
    rate = rate_of(tokenizer, [one.text for one in measured])
    said = f"{rate.bytes_per_token:.2f} bytes of {what} a token{rate.unknown_shown}"
    say(f"  {tokenizer.vocab_size:,} tokens, {said}")
    facts: dict[str, Any] = dict(vars(rate))
    much = []
    for part in ("language", "source"):
        rates = _told(tokenizer, measured, trained_on.get(part, ()), part)
        much += [key for key, one in rates.items() if one.unknown_tokens > _MUCH]
        unknown = {key: one.unknown_tokens for key, one in rates.items() if one.unknown_tokens}
        facts[f"bytes_per_token_by_{part}s"] = {key: one.bytes_per_token for key, one in rates.items()}
        facts[f"unknown_tokens_by_{part}s"] = unknown
    if much:
        say(f"  note: {_note(much)}")
    return facts


def _told(
    tokenizer: Tokenizer, measured: Sequence[Measured], trained_on: Sequence[Measured], part: str
) -> dict[str, Rate]:
    """How each language or source is encoded, those of `trained_on` last; said where there are several."""
    others = _rates(tokenizer, trained_on, part)
    rates = _rates(tokenizer, measured, part) | others
    if len(rates) > 1:
        marks = dict.fromkeys(others, " (training text)")
        shown = [
            f"{key}{marks.get(key, '')} {one.bytes_per_token:.2f}{one.unknown_shown}"
            for key, one in rates.items()
        ]
        say(f"  {part}s: {_first(shown)}")
    return rates


def _first(shown: Sequence[str]) -> str:
    return f"{', '.join(shown[:_SHOWN])}{' …' if len(shown) > _SHOWN else ''}"


def _note(parts: Sequence[str]) -> str:
    """What it means that many tokens of these languages or sources are unknown."""
    return (
        f"more than {_MUCH:.0%} of the tokens are {UNKNOWN} in {_first(parts)}: each stands for a word that cannot be "
        "spelled, so bytes a token look better than they are; try a larger vocab_size, or algorithm=bpe"
    )


def _rates(tokenizer: Tokenizer, measured: Sequence[Measured], part: str) -> dict[str, Rate]:
    """How each language or source is encoded, that with the most text first."""
    texts: dict[str, list[str]] = {}
    for one in measured:
        if getattr(one, part):
            texts.setdefault(getattr(one, part), []).append(one.text)
    ordered = sorted(texts, key=lambda key: (-sum(map(len, texts[key])), key))
    return {key: rate_of(tokenizer, texts[key]) for key in ordered}
