from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from chatwright.data.packing import (
    IGNORE,
    PADDING,
    PackedRows,
    Packing,
    RowOrder,
    SequentialRows,
    StreamRows,
    first_fit,
    global_row,
)
from chatwright.data.store import TokenStore, write_store
from chatwright.errors import UserError

PAD = 9999
BEGIN = 9998


@pytest.fixture
def documents() -> list[np.ndarray]:
    """Every token but the begin is different, so that each can be followed."""
    lengths = np.random.default_rng(0).integers(0, 40, 60)
    ids = np.arange(lengths.sum())
    return [np.concatenate([[BEGIN], part]) for part in np.split(ids, np.cumsum(lengths)[:-1])]


@pytest.fixture
def store(documents: list[np.ndarray], tmp_path: Path) -> TokenStore:
    return write_store(tmp_path / "store", ((ids, None) for ids in documents), vocab_size=10_000)


def chats(tmp_path: Path, lengths: list[int], learnt_from: list[int]) -> TokenStore:
    """Conversations whose token k of number n is 100 n + k, learnt from a place on."""
    rows = [
        (100 * number + np.arange(length), np.arange(length) >= start)
        for number, (length, start) in enumerate(zip(lengths, learnt_from, strict=True))
    ]
    return write_store(tmp_path / "chats", iter(rows), vocab_size=10_000)


def inputs(packing: Packing, epoch: int) -> list[int]:
    rows = [packing.row(epoch, index) for index in range(packing.rows_in_epoch(epoch))]
    return np.concatenate([row.inputs[row.segments != PADDING] for row in rows]).tolist()


@pytest.mark.parametrize("context", [1, 7, 64, 300])
def test_stream_each_token_once_an_epoch_but_a_remainder(store: TokenStore, context: int) -> None:
    packing = StreamRows(store, context, seed=1)
    left_out = store.num_tokens % context
    missing = set()
    for epoch in range(3):
        seen = Counter(inputs(packing, epoch))
        assert seen.pop(BEGIN, 0) <= store.num_documents
        assert set(seen.values()) == {1}
        unseen = set(store.tokens.tolist()) - set(seen) - {BEGIN}
        assert len(unseen) <= left_out < context
        missing.add(frozenset(unseen))
    assert len(missing) > 1 or left_out <= 1


@pytest.mark.parametrize("context", [1, 16, 64, 300])
def test_stream_targets_are_the_next_token_of_the_ring(store: TokenStore, context: int) -> None:
    tokens = store.tokens.tolist()
    after = {token: tokens[(place + 1) % len(tokens)] for place, token in enumerate(tokens)}
    packing = StreamRows(store, context)
    for index in range(packing.rows_in_epoch(0)):
        row = packing.row(0, index)
        assert (row.inputs.dtype, row.targets.dtype, row.segments.dtype) == (np.int64, np.int64, np.int32)
        assert len(row.inputs) == len(row.targets) == len(row.segments) == context
        assert row.targets[:-1].tolist() == row.inputs[1:].tolist()
        for token, target in zip(row.inputs.tolist(), row.targets.tolist(), strict=True):
            assert token == BEGIN or target == after[token]


@pytest.mark.parametrize("context", [16, 64, 300])
def test_a_segment_begins_with_its_documents_begin(store: TokenStore, context: int) -> None:
    packing = StreamRows(store, context)
    for index in range(packing.rows_in_epoch(0)):
        row = packing.row(0, index)
        begins = row.inputs == BEGIN
        begins[0] = False
        assert row.segments.tolist() == np.cumsum(begins).tolist()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_store_shorter_than_a_row_goes_round(tmp_path: Path, length: int) -> None:
    ids = np.array([BEGIN, 1, 2, 3, 4][:length])
    packing = StreamRows(write_store(tmp_path / "s", iter([(ids, None)]), vocab_size=10_000), 12)
    assert packing.rows_in_epoch(0) == 1
    row = packing.row(0, 0)
    ring = np.concatenate([ids] * 20)
    start = ids.tolist().index(row.inputs[0])
    assert row.inputs.tolist() == ring[start : start + 12].tolist()
    assert row.targets.tolist() == ring[start + 1 : start + 13].tolist()
    begins = row.inputs == BEGIN
    begins[0] = False
    assert row.segments.tolist() == np.cumsum(begins).tolist()


def test_stream_keeps_to_the_mask(tmp_path: Path) -> None:
    store = chats(tmp_path, [6, 6], [3, 3])
    packing = StreamRows(store, 4)
    for index in range(packing.rows_in_epoch(0)):
        for target in packing.row(0, index).targets:
            assert target == IGNORE or target % 100 >= 3


def same(one: Packing, other: Packing, places: list[tuple[int, int]]) -> bool:
    def values(packing: Packing) -> dict[tuple[int, int], tuple[list[int], ...]]:
        rows = {place: packing.row(*place) for place in places}
        return {p: (r.inputs.tolist(), r.targets.tolist(), r.segments.tolist()) for p, r in rows.items()}

    first = values(one)
    places.reverse()
    return first == values(other)


def test_rows_depend_on_nothing_but_seed_epoch_and_index(store: TokenStore, tmp_path: Path) -> None:
    masked = chats(tmp_path, [5, 9, 3, 20, 7, 8] * 5, [2] * 30)
    rng = np.random.default_rng(0)
    for make in (lambda seed: StreamRows(store, 16, seed), lambda seed: PackedRows(masked, 16, PAD, seed)):
        count = make(0).rows_in_epoch(0)
        places = [(int(rng.integers(3)), int(rng.integers(count - 2))) for _ in range(40)]
        assert same(make(0), make(0), list(places))
        assert not same(make(0), make(1), list(places))
        assert inputs(make(0), 0) != inputs(make(0), 1)


@pytest.mark.parametrize("context", [1, 7, 64, 5000])
def test_sequential_rows_score_each_token_once_in_order(store: TokenStore, context: int) -> None:
    packing = SequentialRows(store, context, PAD)
    rows = [packing.row(0, index) for index in range(packing.rows_in_epoch(0))]
    targets = np.concatenate([row.targets for row in rows])
    assert targets[targets != IGNORE].tolist() == store.tokens[1:].tolist()
    assert inputs(packing, 0) == store.tokens[:-1].tolist()
    for row in rows:
        begins = row.inputs == BEGIN
        begins[0] = False
        real = row.segments != PADDING
        assert row.segments[real].tolist() == np.cumsum(begins)[real].tolist()
        assert set(row.inputs[~real].tolist()) <= {PAD}
        assert set(row.targets[~real].tolist()) <= {IGNORE}


def test_a_packed_row_by_hand(tmp_path: Path) -> None:
    store = chats(tmp_path, [4, 3, 5], [2, 1, 3])
    packing = PackedRows(store, 8, PAD, shuffle=False)
    assert packing.rows_in_epoch(0) == 2
    first = packing.row(0, 0)
    assert first.inputs.tolist() == [0, 1, 2, 100, 101, PAD, PAD, PAD]
    assert first.targets.tolist() == [IGNORE, 2, 3, 101, 102, IGNORE, IGNORE, IGNORE]
    assert first.segments.tolist() == [0, 0, 0, 1, 1, PADDING, PADDING, PADDING]
    assert packing.row(0, 1).inputs.tolist() == [200, 201, 202, 203, PAD, PAD, PAD, PAD]
    assert (packing.cut, packing.skipped) == (0, 0)
    assert packing.filled(0) == 9 / 16


def test_every_conversation_whole_and_once_an_epoch(tmp_path: Path) -> None:
    lengths = np.random.default_rng(1).integers(2, 30, 80).tolist()
    packing = PackedRows(chats(tmp_path, lengths, [1] * 80), 32, PAD, window=4)
    for epoch in range(2):
        found = []
        for index in range(packing.rows_in_epoch(epoch)):
            row = packing.row(epoch, index)
            for segment in range(row.segments.max() + 1):
                part = row.inputs[row.segments == segment]
                number = int(part[0]) // 100
                assert part.tolist() == (100 * number + np.arange(lengths[number] - 1)).tolist()
                assert row.targets[row.segments == segment].tolist() == (part + 1).tolist()
                found.append(number)
        assert sorted(found) == list(range(80))
    assert packing.filled(0) > 0.8


def test_too_long_is_cut_and_nothing_learnt_is_skipped(tmp_path: Path) -> None:
    # the second ends before its mask begins once it is cut, the third learns nothing, the fourth has no target
    store = chats(tmp_path, [20, 20, 5, 1, 5], [3, 9, 5, 0, 1])
    packing = PackedRows(store, 8, PAD, shuffle=False)
    assert (packing.cut, packing.skipped) == (1, 3)
    assert inputs(packing, 0) == [0, 1, 2, 3, 4, 5, 6, 7, 400, 401, 402, 403]
    assert packing.row(0, 0).targets.tolist() == [IGNORE, IGNORE, 3, 4, 5, 6, 7, 8]


def test_the_last_target_of_a_cut_conversation_counts(tmp_path: Path) -> None:
    assert PackedRows(chats(tmp_path, [20], [8]), 8, PAD).row(0, 0).targets[-1] == 8
    with pytest.raises(UserError, match="raise context"):
        PackedRows(chats(tmp_path, [20], [9]), 8, PAD)


def test_what_follows_the_last_target_takes_no_room(tmp_path: Path) -> None:
    masks = [[0, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0]]
    rows = [
        (10 * number + np.arange(len(mask)), np.array(mask, dtype=bool)) for number, mask in enumerate(masks)
    ]
    packing = PackedRows(write_store(tmp_path / "chats", iter(rows), vocab_size=100), 6, PAD, shuffle=False)
    assert (packing.rows_in_epoch(0), packing.cut, packing.skipped) == (1, 0, 1)
    assert packing.row(0, 0).inputs.tolist() == [0, 1, 2, 10, 11, 12]
    assert packing.row(0, 0).targets.tolist() == [IGNORE, 2, 3, 11, IGNORE, 13]


def test_file_order_without_shuffle(tmp_path: Path) -> None:
    packing = PackedRows(chats(tmp_path, [9] * 20, [1] * 20), 16, PAD, shuffle=False)
    order = [number // 100 for number in inputs(packing, 0)[::8]]
    assert order == list(range(20))
    assert inputs(packing, 0) == inputs(packing, 5)


@pytest.mark.parametrize("window", [1, 2, 64])
def test_first_fit_loses_nothing_and_overfills_nothing(window: int) -> None:
    sizes = np.random.default_rng(2).integers(1, 11, 200).tolist()
    rows = first_fit(sizes, 10, window)
    assert sorted(item for row in rows for item in row) == list(range(200))
    assert all(sum(sizes[item] for item in row) <= 10 for row in rows)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert all(row == sorted(row) for row in rows)


def test_first_fit_by_hand() -> None:
    assert first_fit([6, 5, 4, 5, 1], 10, 8) == [[0, 2], [1, 3], [4]]
    assert first_fit([6, 5, 4, 5, 1], 10, 1) == [[0], [1, 2], [3, 4]]


def test_rows_of_a_run_follow_epoch_after_epoch() -> None:
    class Uneven:
        context = 1

        def rows_in_epoch(self, epoch: int) -> int:
            return [2, 3, 1][epoch % 3]

        def row(self, epoch: int, index: int) -> tuple[int, int]:
            return epoch, index

    order = RowOrder(Uneven())  # type: ignore[arg-type]
    expected = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]
    assert [order.locate(row) for row in range(7)] == expected
    assert [global_row(Uneven(), row) for row in (6, 0, 4)] == [(3, 0), (0, 0), (1, 2)]  # type: ignore[arg-type]
    assert order.row(4) == (1, 2)  # type: ignore[comparison-overlap]


def test_bad_numbers_are_refused(store: TokenStore) -> None:
    with pytest.raises(UserError, match="context=0"):
        StreamRows(store, 0)
    with pytest.raises(UserError, match="seed=-1"):
        StreamRows(store, 8, seed=-1)
