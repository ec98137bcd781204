"""Slots: places for sequences, each with a cache that is kept after its reply, so that the next turn of a conversation
runs only what is new."""

from __future__ import annotations

from collections.abc import Sequence

from chatwright.generation.cache import Cache
from chatwright.generation.inference import Inference

_FIRST_CAPACITY = 256
# A kept sequence is written over where at least this share of it is of use; else it is copied and stays.
_SHARE_OF_USE = 0.5


class Slot:
    """A cache of one row, and the tokens whose keys and values it has."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.tokens: list[int] = []
        self.is_free = True
        self.last_used = 0

    def cut(self, length: int) -> None:
        """Forget what stands from `length` on."""
        del self.tokens[length:]
        self.cache.length = length


class Slots:
    """All slots of an engine."""

    def __init__(self, inference: Inference, count: int, context: int) -> None:
        first = min(_FIRST_CAPACITY, context)
        self._all = [Slot(inference.cache(1, first)) for _ in range(count)]
        self._clock = 0

    @property
    def free(self) -> int:
        return sum(slot.is_free for slot in self._all)

    @property
    def nbytes(self) -> int:
        """What the caches take of the memory."""
        return sum(slot.cache.nbytes for slot in self._all)

    def take(self, prompt: Sequence[int]) -> Slot:
        """A free slot that holds as much of the prompt's beginning as any slot does, and nothing else.

        At least the prompt's last token is left to run.
        """
        wanted = prompt[:-1]
        shared = {id(slot): common_beginning(slot.tokens, wanted) for slot in self._all}
        free = [slot for slot in self._all if slot.is_free]
        source = max(self._all, key=lambda slot: (shared[id(slot)], slot.is_free))
        length = shared[id(source)]
        nearest = max(free, key=lambda slot: shared[id(slot)])
        if shared[id(nearest)] == length and length > _SHARE_OF_USE * len(nearest.tokens):
            target = nearest
        else:
            target = min(free, key=lambda slot: slot.last_used)
        if shared[id(target)] < length:
            target.cache.take(source.cache, length)
            target.tokens = source.tokens[:length]
        else:
            target.cut(length)
        target.is_free = False
        return target

    def give_back(self, slot: Slot, is_sound: bool = True) -> None:
        """Free a slot; it keeps what it holds where that is sound."""
        self._clock += 1
        slot.is_free, slot.last_used = True, self._clock
        if not is_sound:
            slot.cut(0)
            slot.last_used = 0


def common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
