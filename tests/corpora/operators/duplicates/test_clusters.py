import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.duplicates.clusters import candidates, clusters, duplicates, merge, shared

EDGES = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40)


@settings(deadline=None, max_examples=40)
@given(EDGES)
def test_merge_finds_connected_components(edges: list[tuple[int, int]]) -> None:
    group = list(range(30))
    for one, other in edges:
        low, high = sorted((group[one], group[other]))
        group = [low if g == high else g for g in group]
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    assert merge(np.arange(30), left, right).tolist() == [group.index(g) for g in group]


@settings(deadline=None, max_examples=40)
@given(EDGES, EDGES)
def test_merge_in_two_goes_is_merge_in_one(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    ways = [np.array(edges, np.int64).reshape(-1, 2).T for edges in (one, other, [*one, *other])]
    twice = merge(merge(np.arange(30), *ways[0]), *ways[1])
    assert twice.tolist() == merge(np.arange(30), *ways[2]).tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=40))
def test_candidates_join_all_of_a_bucket_and_nothing_else(keys: list[int]) -> None:
    array = np.array(keys, np.uint32)
    left, right = candidates(array)
    assert (left < right).all()
    assert (array[left] == array[right]).all()
    assert merge(np.arange(len(keys)), left, right).tolist() == [keys.index(key) for key in keys]
    assert shared(array).tolist() == [keys.count(key) > 1 for key in keys]


def sketch(*kinds: int) -> np.ndarray:
    """Sketches of 8 numbers: the first `k` are 1, the rest are of the text alone."""
    made = np.arange(8 * len(kinds), dtype=np.uint8).reshape(len(kinds), 8) + 10
    for row, kind in enumerate(kinds):
        made[row, :kind] = 1
    return made


def test_pairs_that_are_not_alike_join_nothing() -> None:
    bands = np.ones((3, 1), np.uint32)
    assert clusters(bands, sketch(8, 2, 8), 0.9).tolist() == [0, 1, 0]
    assert clusters(bands, sketch(2, 8, 8), 0.9).tolist() == [0, 1, 1]


def test_of_a_chain_what_is_unlike_the_first_stays() -> None:
    chain = np.stack([np.where(np.arange(20) < 20 - shift, 1, 2) for shift in (0, 3, 6, 9)]).astype(np.uint8)
    roots = merge(np.arange(4), np.array([0, 1, 2]), np.array([1, 2, 3]))
    found = duplicates(roots, chain, 0.8)
    assert (found > 0).tolist() == [False, True, False, True]


def test_a_cluster_of_one_stays() -> None:
    assert not duplicates(np.arange(5), sketch(*[8] * 5), 0.5).any()
    assert duplicates(np.zeros(0, np.int64), sketch(), 0.5).shape == (0,)
