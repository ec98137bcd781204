"""Keys that stand more than once in a corpus, found in numpy in passes of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_AT_ONCE = 1 << 24


def repeats(read: Callable[[], Iterable[Keys]], total: int) -> Iterator[tuple[Places, Keys]]:
    """The places (R,) and the keys (R, W) of what came before, in passes over the values of the keys.

    `read` gives the keys (N, W) part by part and is called once for each pass; `total` is how many there are, and the
    places count through all of them. A pass holds at most about 16 million keys, with 24 + 16 W bytes for each.
    """
    passes = -(-total // _AT_ONCE)
    for number in range(passes):
        found, places, start = [], [], 0
        for keys in read():
            mine = np.flatnonzero(keys[:, 0] % np.uint64(passes) == number)
            found.append(keys[mine])
            places.append(mine + start)
            start += len(keys)
        table, where = np.concatenate(found), np.concatenate(places)
        # lexsort is stable, so equal keys stay in the order of their places
        order = np.lexsort(table.T[::-1])
        later = order[1:][(table[order[1:]] == table[order[:-1]]).all(axis=1)]
        yield where[later], table[later]
