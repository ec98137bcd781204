"""Small words in and out of place: their share, and how often one stands where no sentence has it.

Shuffled text has the right words in the wrong order. In English an article is hardly ever followed by a preposition
or another article; in Chinese a particle hardly ever follows a comma, nor 和 precede one, nor one comma another.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators import characters
from chatwright.corpora.operators.quality.lines import Lines
from chatwright.corpora.operators.quality.repetition import Hashes, Units, hash_words

Flags: TypeAlias = npt.NDArray[np.bool_]

_STOP = (
    "the be to of and that have with a in is it for on as are this by at from or an not you i he was his but they "
    "which she her had were we their there been will would can has if what all my who when your him me"
)
_ARTICLES = "the a an my your their our its every"
_NOT_AFTER_ARTICLE = (
    "the a an my your their our its his of and or but is was are were be been to in on at with for from by as than "
    "that which who if because has had have will would can could should may might do does did he she they we it i"
)
_PREPOSITIONS = "of in for with from by at into"
_NOT_AFTER_PREPOSITION = (
    "of is was are were be been and or but has had have will would could he she they we i if"
)

_PARTICLES = "的了着們们吗嗎呢吧著"
_JOINING = "和与與把被跟这這那每各某该該"
_PAUSES = "，、；：。"
_MIDDLES = "，、；"
_OPENING = "，。、；：？！（《“「『【\n"


@cache
def _lookup() -> tuple[npt.NDArray[np.uint8], Hashes, dict[str, Flags]]:
    """A first guess from the top 16 bits of a hash, the words' hashes, and what each word is."""
    sets = {
        "stop": _STOP.split(),
        "article": _ARTICLES.split(),
        "not after article": _NOT_AFTER_ARTICLE.split(),
        "preposition": _PREPOSITIONS.split(),
        "not after preposition": _NOT_AFTER_PREPOSITION.split(),
    }
    known = list(dict.fromkeys(word for words in sets.values() for word in words))
    hashes = hash_words(known)
    guess = np.full(1 << 16, len(known), np.uint8)
    guess[hashes >> np.uint64(48)] = np.arange(len(known))
    assert np.unique(hashes >> np.uint64(48)).size == len(known), "two words share a place; take another seed"
    flags = {name: np.array([word in words for word in [*known, ""]]) for name, words in sets.items()}
    return guess, np.append(hashes, np.uint64(0)), flags


def english(lines: Lines, units: Units) -> tuple[Flags, Flags, Flags]:
    """Of each unit whether it is a stop word, whether it is an article or preposition, and one out of place."""
    guess, known, flags = _lookup()
    hashes = units.between(units.place[:-1], units.place[1:])
    word = guess[hashes >> np.uint64(48)]
    word[known[word] != hashes] = known.size - 1
    # One space between the two, so no comma, backtick or line end.
    ends = units.position[units.place[1:-1] - 1]
    adjacent = (units.position[units.place[1:-1]] - ends == 2) & (lines.codes[ends + 1] == ord(" "))
    misplaced = np.zeros(word.size, bool)
    first, second = word[:-1], word[1:]
    misplaced[:-1] = flags["article"][first] & flags["not after article"][second]
    misplaced[:-1] |= flags["preposition"][first] & flags["not after preposition"][second]
    misplaced[:-1] &= adjacent
    return flags["stop"][word], flags["article"][word] | flags["preposition"][word], misplaced


def chinese(lines: Lines) -> tuple[Flags, Flags]:
    """Of each character whether it is a particle, joins words or is a pause, and whether no sentence has it there."""
    codes = lines.codes

    def among(members: str) -> Flags:
        return characters.among(codes, members)

    particle, joining, pause, opening, middle = map(
        among, (_PARTICLES, _JOINING, _PAUSES, _OPENING, _MIDDLES)
    )

    def before(flags: Flags, at_start: bool) -> Flags:
        return np.append(at_start, flags[:-1])

    start = before(codes == ord("\n"), True)
    twice = np.append(False, codes[1:] == codes[:-1])
    misplaced = particle & (before(opening, True) | twice)
    misplaced |= middle & (before(pause, False) | start)
    misplaced |= pause & before(middle, False)
    misplaced[:-1] |= joining[:-1] & (pause[1:] | particle[1:])
    return particle | joining | pause, misplaced
