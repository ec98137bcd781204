"""What choosing the best of n replies gains, and how far it moves from the policy that wrote them.

Shape suffixes: P prompts, N replies to each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def best_of_kl(n: int) -> float:
    """log n − (n − 1) / n nats: the divergence of the best of n from one reply of the policy (Stiennon et al. 2020,
    appendix G.3). It is exact where no two scores are equal and a bound otherwise (Beirami et al. 2024)."""
    return math.log(n) - (n - 1) / n


def expected_best(scores_PN: Values, k: int, values_PN: Values | None = None) -> Values:
    """The value that the best-scored of k replies is expected to have, float64[P], without bias.

    It is the mean over all subsets of k of the N replies: the i-th lowest score is the highest of C(i − 1, k − 1) of
    the C(N, k) subsets (Nakano et al. 2021, appendix I). `values` are the scores themselves, or another number of each
    reply, as gold; of equal scores each counts alike.
    """
    n = scores_PN.shape[1]
    assert 1 <= k <= n, (k, n)
    weights_N = np.array([math.comb(i, k - 1) / math.comb(n, k) for i in range(n)])
    order_PN = np.argsort(scores_PN, axis=1, kind="stable")
    sorted_PN = np.take_along_axis(scores_PN, order_PN, axis=1)
    if values_PN is None:
        return np.asarray(sorted_PN @ weights_N)
    values_PN = np.take_along_axis(values_PN, order_PN, axis=1)
    found = np.zeros(len(scores_PN))
    for row, (scores_N, values_N) in enumerate(zip(sorted_PN, values_PN, strict=True)):
        for equal in _runs(scores_N):
            found[row] += weights_N[equal].sum() * values_N[equal].mean()
    return found


def sizes(n: int) -> list[int]:
    """1, 2, 4 … and n."""
    return [*(1 << power for power in range((n - 1).bit_length())), n] if n > 1 else [1]


def _runs(sorted_N: Values) -> Iterator[slice]:
    """The runs of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(sorted_N)) + 1).tolist(), len(sorted_N)]
    yield from (slice(begin, end) for begin, end in pairwise(edges))
