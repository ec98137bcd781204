from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.duplicates import clusters as module
from chatwright.corpora.operators.duplicates.clusters import candidates, clusters, duplicates, merge
from chatwright.corpora.operators.duplicates.minhash import similarity

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
    turns = list(candidates(array))
    assert all(len(left) <= len(keys) for left, _ in turns)
    left, right = (
        (np.concatenate([np.zeros(0, np.int64), *side]) for side in zip(*turns, strict=True))
        if turns
        else ([], [])
    )
    left, right = np.array(left, np.int64), np.array(right, np.int64)
    assert (left < right).all()
    assert (array[left] == array[right]).all()
    assert merge(np.arange(len(keys)), left, right).tolist() == [keys.index(key) for key in keys]


def sketch(*kinds: int) -> np.ndarray:
    """Sketches of 8 numbers: the first `k` are 1, the rest are of the text alone."""
    made = np.arange(8 * len(kinds), dtype=np.uint8).reshape(len(kinds), 8) + 10
    for row, kind in enumerate(kinds):
        made[row, :kind] = 1
    return made


class Read:
    """Gives rows of a table, and remembers the largest number of them that was asked for at once."""

    def __init__(self, table: np.ndarray) -> None:
        self.table, self.most = table, 0

    def __call__(self, places: np.ndarray) -> np.ndarray:
        assert (np.diff(places) > 0).all()
        self.most = max(self.most, len(places))
        found: np.ndarray = self.table[places]
        return found


def roots_of(bands: Sequence[Sequence[int]], read: Read, least: float) -> list[int]:
    total = len(read.table)
    keyed = ((np.arange(total), np.array(band, np.uint32)) for band in bands)
    found: list[int] = clusters(total, keyed, read, least).tolist()
    return found


def test_pairs_that_are_not_alike_join_nothing() -> None:
    assert roots_of([[1, 1, 1]], Read(sketch(8, 2, 8)), 0.9) == [0, 1, 0]
    assert roots_of([[1, 1, 1]], Read(sketch(2, 8, 8)), 0.9) == [0, 1, 1]


def test_texts_of_which_a_band_says_nothing_join_nothing() -> None:
    bands = [(np.array([1, 3]), np.array([7, 7], np.uint32)), (np.array([0]), np.array([7], np.uint32))]
    assert clusters(4, bands, Read(sketch(8, 8, 8, 8)), 0.5).tolist() == [0, 1, 2, 1]


def test_of_a_chain_what_is_unlike_the_first_stays() -> None:
    rows = np.stack([np.where(np.arange(20) < 20 - shift, 1, 2) for shift in (0, 3, 6, 9)]).astype(np.uint8)
    roots = merge(np.arange(4), np.array([0, 1, 2]), np.array([1, 2, 3]))
    stays, found = duplicates(roots, Read(rows), 0.8)
    assert (found > 0).tolist() == [False, True, False, True]
    assert stays.tolist() == [0, 0, 2, 2]
    assert found[1] == similarity(rows[:1], rows[1:2])[0]


def test_what_is_left_of_a_chain_too_long_goes_with_its_first_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEADERS", 2)
    stays, found = duplicates(np.array([0, 1, 1, 1, 1]), Read(sketch(8, 0, 0, 0, 0)), 0.8)
    assert stays.tolist() == [0, 1, 2, 1, 1]
    assert (found > 0).tolist() == [False, False, False, True, True]


def test_a_cluster_of_one_stays() -> None:
    assert not duplicates(np.arange(5), Read(sketch(*[8] * 5)), 0.5)[1].any()
    assert duplicates(np.zeros(0, np.int64), Read(np.zeros((0, 8), np.uint8)), 0.5)[1].shape == (0,)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40))
def test_of_each_cluster_stays_what_a_plain_loop_leaves(texts: list[tuple[int, int, int]]) -> None:
    """Also when almost nothing may be held: no more sketches than a few pairs or one cluster have."""
    one, other, kinds = zip(*texts, strict=True)
    table = np.stack([[kind] * 4 + [kind % 3] * 4 + [kind % 2] * 2 for kind in kinds]).astype(np.uint8)
    least = 0.5
    wanted_roots = by_hand([one, other], table, least)
    wanted = loop(wanted_roots, table, least)
    for pairs, group in ((module._PAIRS, module._TEXTS), (2, 3)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_PAIRS", pairs)
            patch.setattr(module, "_TEXTS", group)
            patch.setattr(module, "_COMPARED", pairs)
            read = Read(table)
            roots = roots_of([one, other], read, least)
            assert roots == wanted_roots and read.most <= 2 * pairs
            read = Read(table)
            assert duplicates(np.array(roots), read, least)[0].tolist() == wanted
            assert read.most <= max(group, max(roots.count(root) for root in roots))


def test_pairs_do_not_wait_in_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    total, counts = 40, list[int]()

    def joined(roots: np.ndarray, pairs: np.ndarray, *rest: object) -> np.ndarray:
        counts.append(len(pairs))
        return roots

    monkeypatch.setattr(module, "_PAIRS", 10)
    monkeypatch.setattr(module, "_joined", joined)
    draw = np.random.default_rng(0)
    roots_of(draw.integers(0, 4, (20, total)).tolist(), Read(sketch(*[0] * total)), 0.5)
    assert sum(counts) > 20 * total and max(counts) < 10 + total


def by_hand(bands: Sequence[Sequence[int]], table: np.ndarray, least: float) -> list[int]:
    """The roots when the pairs of a bucket that `candidates` names are compared one by one."""
    group = list(range(len(table)))
    for band in bands:
        for key in {*band}:
            bucket = [place for place, one in enumerate(band) if one == key]
            for left, right in compared(bucket):
                if similarity(table[left : left + 1], table[right : right + 1])[0] >= least:
                    low, high = sorted((group[left], group[right]))
                    group = [low if one == high else one for one in group]
    return group


def compared(bucket: list[int]) -> list[tuple[int, int]]:
    """The pairs of a bucket: each with its first and with the four before."""
    places = range(len(bucket))
    return [(bucket[i], bucket[j]) for j in places for i in range(j) if i == 0 or j - i <= 4]


def loop(roots: list[int], table: np.ndarray, least: float) -> list[int]:
    """For each text the first that stays of its cluster and is like it, itself where there is none."""
    stays = list(range(len(roots)))
    for place, root in enumerate(roots):
        for earlier in range(place):
            pair = table[earlier : earlier + 1], table[place : place + 1]
            if roots[earlier] == root and stays[earlier] == earlier and similarity(*pair)[0] >= least:
                stays[place] = earlier
                break
    return stays
