"""Practice in saying back what was said: chats whose answer repeats a few words of the question.

An assistant that admits not to know a name has to say the name, and a small model that only ever wrote sentences it knew
by heart has never copied one. Copying is a skill of its own, learnt from any words; the words are names put together at
random, words of documentation, and two of these run together, so that hardly any piece of text is new to it.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence

from chatwright.data.questions import Chat, one_turn

_ASKING = (
    "Repeat after me: {said}",
    "Say {said}",
    "Please repeat {said}.",
    "Echo {said}",
    "I say {said}, you?",
    "{said}",
    "跟我念：{said}",
    "请重复 {said}。",
    "你说 {said}",
)
_ODD_SHARE, _NAME_SHARE = 0.4, 0.7
_DEEPEST = 4


def echoes(
    names: Sequence[str], words: Sequence[str], apart: Collection[str], count: int, most: int, seed: str
) -> Iterator[Chat]:
    """`count` chats that say back one to `most` words or names; none in `apart` is said."""
    rng = random.Random(f"chatwright-echoes/{seed}")
    parts = [name.split(".") for name in names]
    for _ in range(count):
        said = " ".join(_said(parts, words, apart, rng) for _ in range(rng.randint(1, most)))
        yield one_turn(rng.choice(_ASKING).format(said=said), f"You said {said}.")


def _said(
    parts: Sequence[Sequence[str]], words: Sequence[str], apart: Collection[str], rng: random.Random
) -> str:
    while True:
        if rng.random() >= _NAME_SHARE:
            found = rng.choice(words)
        elif rng.random() < _ODD_SHARE:
            found = _odd(rng.choice(words), rng.choice(words), rng)
        else:
            first, second = rng.choice(parts), rng.choice(parts)
            joined = [*first[: rng.randint(1, len(first))], *second[rng.randrange(len(second)) :]]
            found = ".".join(joined[:_DEEPEST])
        if found not in apart:
            return found


def _odd(first: str, second: str, rng: random.Random) -> str:
    """A word alone, two in one, or parts of both run together."""
    kind = rng.random()
    if kind < 0.4:
        return first
    if kind < 0.7:
        return first + rng.choice((".", "_", "")) + second
    return first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :]
