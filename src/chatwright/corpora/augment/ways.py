"""Small changes to a text, each drawn from a generator."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from chatwright.corpora.augment.thesaurus import Thesaurus
from chatwright.corpora.augment.words import is_word, split_words


def replace_words(text: str, share: float, thesaurus: Thesaurus, rng: np.random.Generator) -> str:
    """About `share` of the words by synonyms, at least one where any is known; `a` and `an` follow their word."""
    pieces = split_words(text)
    known = [at for at, piece in enumerate(pieces) if thesaurus.of(piece)]
    words = sum(map(is_word, pieces))
    for at in _some(known, words, share, rng):
        choices = thesaurus.of(pieces[at])
        pieces[at] = choices[int(rng.integers(len(choices)))]
        if at >= 2 and pieces[at - 1] == " " and pieces[at - 2].lower() in ("a", "an"):
            article = "an" if pieces[at][0].lower() in "aeio" else "a"
            pieces[at - 2] = article.capitalize() if pieces[at - 2][0].isupper() else article
    return "".join(pieces)


def swap_words(text: str, share: float, rng: np.random.Generator) -> str:
    """About `share` of the words change places with the word after them; never across a sentence's end or a line."""
    pieces = split_words(text)
    words = [at for at, piece in enumerate(pieces) if is_word(piece)]
    between = pairwise(words)
    pairs = [(a, b) for a, b in between if all(piece in (" ", "-") for piece in pieces[a + 1 : b])]
    taken: set[int] = set()
    for number in _some(list(range(len(pairs))), len(words), share, rng):
        first, second = pairs[number]
        if not {first, second} & taken:
            pieces[first], pieces[second] = pieces[second], pieces[first]
            taken |= {first, second}
    return "".join(pieces)


def delete_words(text: str, share: float, rng: np.random.Generator) -> str:
    """Without about `share` of its words, and the space before each; a text keeps at least one word."""
    pieces = split_words(text)
    words = [at for at, piece in enumerate(pieces) if is_word(piece)]
    for at in _some(words, len(words), share, rng)[: max(0, len(words) - 1)]:
        pieces[at] = ""
        if at and pieces[at - 1] == " ":
            pieces[at - 1] = ""
    return "".join(pieces).lstrip(" ")


def _some(places: list[int], words: int, share: float, rng: np.random.Generator) -> list[int]:
    """Of the places as many as the share of all words asks for, at least one."""
    if not places:
        return []
    count = min(len(places), max(1, round(share * words)))
    return sorted(places[index] for index in rng.choice(len(places), count, replace=False).tolist())
