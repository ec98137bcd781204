"""Pairs as tokens: stored, laid side by side, none lost and none cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatwright.data.packing import IGNORE, PADDING
from chatwright.data.pair_store import PackedPairs, RowWriter, encode_pairs, first_fit_pairs, num_pairs
from chatwright.data.pairs import Pair
from chatwright.data.store import TokenStore, write_store
from chatwright.errors import UserError
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer
from helpers.texts import sentences

START, PAD, END = 91, 90, 92


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """Forty pairs whose tokens tell which pair and side they are of: 2p on the source's side, 2p + 1 on the target's."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, (40, 2))
    documents = [
        (np.append(np.full(sizes[p, side], 2 * p + side), END), None) for p in range(40) for side in range(2)
    ]
    return write_store(tmp_path / "store", documents, vocab_size=100)


def test_texts_are_encoded_and_ended(tmp_path: Path) -> None:
    tokenizer = Tokenizer(train_tokenizer(sentences(200), TokenizerOptions(vocab_size=450)))
    pairs = [Pair("The cat sees", "猫看见"), Pair("the dog", "狗")]
    heard: list[tuple[int, int]] = []
    store = encode_pairs(
        pairs, tokenizer, tmp_path / "s", lambda *now: heard.append(now), lambda: {"more": 7}
    )
    assert num_pairs(store) == 2
    texts = [tokenizer.decode(store.document(index)) for index in range(4)]
    assert texts == ["The cat sees", "猫看见", "the dog", "狗"]
    assert all(store.document(index)[-1] == tokenizer.endoftext for index in range(4))
    total, target = sum(len((p.source + p.target).encode()) for p in pairs), len("猫看见狗".encode())
    assert (store.info["text_bytes"], store.info["target_bytes"], store.info["more"]) == (total, target, 7)
    assert heard == [(2, total)]


def test_a_row_holds_whole_pairs_side_by_side() -> None:
    writer = RowWriter(8, 6, START, PAD)
    writer.add(np.array([1, 2, END]), np.array([5, END]))
    writer.add(np.array([3, END]), np.array([6, 7, END]))
    row = writer.row
    assert row.inputs.tolist() == [1, 2, END, 3, END, PAD, PAD, PAD]
    assert row.segments.tolist() == [0, 0, 0, 1, 1, PADDING, PADDING, PADDING]
    assert row.decoder_inputs.tolist() == [START, 5, START, 6, 7, PAD]
    assert row.targets.tolist() == [5, END, 6, 7, END, IGNORE]
    assert row.decoder_segments.tolist() == [0, 0, 1, 1, 1, PADDING]
    blank = row.blank()
    assert (blank.targets == IGNORE).all()
    assert (blank.segments == PADDING).all() and (blank.decoder_segments == PADDING).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_has_every_pair_once(store: TokenStore, shuffle: bool) -> None:
    rows = PackedPairs(store, 24, START, PAD, seed=3, shuffle=shuffle)
    orders = []
    for epoch in range(2):
        seen = []
        for index in range(rows.rows_in_epoch(epoch)):
            row = rows.row(epoch, index)
            for segment in range(row.segments.max() + 1):
                source, target = (
                    row.inputs[row.segments == segment],
                    row.targets[row.decoder_segments == segment],
                )
                assert source[0] + 1 == target[0] or len(target) == 1 or len(source) == 1
                assert source[-1] == target[-1] == END
                seen.append(int(source[0]) // 2)
        assert sorted(seen) == list(range(40))
        orders.append(seen)
    assert (orders[0] != orders[1]) is shuffle
    assert (rows.row(0, 0).inputs == PackedPairs(store, 24, START, PAD, 3, shuffle).row(0, 0).inputs).all()
    assert 0.6 < rows.filled(0) <= 1


def test_what_does_not_fit_is_left_out_whole_and_counted(store: TokenStore) -> None:
    longest = store.lengths().reshape(-1, 2).max(axis=1)
    rows = PackedPairs(store, 24, START, PAD, limit=7)
    assert rows.skipped == int((longest > 7).sum()) > 0
    kept = sum(rows.row(0, index).segments.max() + 1 for index in range(rows.rows_in_epoch(0)))
    assert kept == 40 - rows.skipped
    with pytest.raises(
        UserError, match=r"no pair in .* may have 1 tokens each, and the shortest pair has \d"
    ):
        PackedPairs(store, 1, START, PAD)


def test_the_shorter_side_gets_fewer_positions(tmp_path: Path) -> None:
    documents = [(np.zeros(size, dtype=np.int64), None) for _ in range(20) for size in (10, 3)]
    rows = PackedPairs(write_store(tmp_path / "s", documents, vocab_size=9), 64, 0, 0)
    assert rows.lengths == (64, 24)
    assert rows.rows_in_epoch(0) == 4


def test_first_fit_looks_at_both_sizes() -> None:
    sizes = np.array([[3, 1], [3, 1], [1, 3], [1, 1], [2, 2]])
    assert first_fit_pairs(sizes, (4, 4), 8) == [[0, 2], [1, 3], [4]]
    assert first_fit_pairs(sizes, (4, 4), 1) == [[0], [1, 2], [3, 4]]
