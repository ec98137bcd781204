"""Merged rows: every reply once an epoch, never alone, each beside its stranger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatwright.data.group_store import GroupRows, GroupStore, save_array
from chatwright.data.merged_rows import MergedRows
from chatwright.data.store import write_store
from chatwright.errors import UserError


def store_of(directory: Path, prompts: list[int], replies: int = 2) -> GroupStore:
    """One reply a group; prompt i is three tokens `prompts[i]`, its reply is `replies` tokens 50 + i."""
    ids = [np.array([prompt] * 3 + [50 + n] * replies) for n, prompt in enumerate(prompts)]
    write_store(directory, ((one, np.arange(len(one)) >= 3) for one in ids), vocab_size=200, tokenizer="abc")
    save_array(directory / "groups.npy", np.arange(len(ids) + 1))
    save_array(directory / "wanted.npy", np.arange(len(ids), dtype=np.float32) % 2)
    return GroupStore.open(directory, "abc")


def merged(store: GroupStore, together: int = 4, longest: int = 9, **options: object) -> MergedRows:
    return MergedRows(GroupRows(store, **options), together, longest)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "rows"), [(12, 3), (15, 3), (17, 4), (5, 1), (3, 1), (1, 1)])
def test_every_reply_stands_in_one_row_of_an_epoch(tmp_path: Path, count: int, rows: int) -> None:
    made = merged(store_of(tmp_path / "g", list(range(count))), seed=2)
    epochs = []
    for epoch in range(2):
        assert made.rows_in_epoch(epoch) == rows
        groups = [made.row(epoch, index) for index in range(rows)]
        assert all(len(group.replies) // 2 >= min(4, count) for group in groups)
        own = [reply for group in groups for reply in group.replies if not reply.numbers["stranger"]]
        assert sorted(int(reply.ids[-1]) - 50 for reply in own) == list(range(count))
        assert all(reply.numbers["wanted"] == (reply.ids[-1] - 50) % 2 for reply in own)
        epochs.append([int(reply.ids[-1]) for reply in own])
    again = merged(store_of(tmp_path / "h", list(range(count))), seed=2)
    assert [int(r.ids[-1]) for r in again.row(1, 0).replies] == [
        int(r.ids[-1]) for r in made.row(1, 0).replies
    ]
    assert count < 3 or epochs[0] != epochs[1]


def test_a_stranger_is_the_reply_after_the_next_other_prompt(tmp_path: Path) -> None:
    rows = merged(store_of(tmp_path / "g", [1, 1, 2, 3, 1]), shuffle=False)
    prompts = [rows.stranger(place).ids.tolist() for place in range(5)]
    assert prompts == [
        [2, 2, 2, 50, 50],
        [2, 2, 2, 51, 51],
        [3, 3, 3, 52, 52],
        [1, 1, 1, 53, 53],
        [2, 2, 2, 54, 54],
    ]
    group = rows.row(0, 0)
    assert [reply.numbers["stranger"] for reply in group.replies] == [0.0] * 5 + [1.0] * 5
    assert [reply.ids.tolist() for reply in group.replies[5:]] == prompts
    assert {reply.start for reply in group.replies} == {3}


def test_a_stranger_too_long_loses_the_beginning_of_its_prompt(tmp_path: Path) -> None:
    store = store_of(tmp_path / "g", [1, 2])
    assert merged(store, longest=4).stranger(0).ids.tolist() == [2, 2, 50, 50]
    assert merged(store, longest=4).stranger(0).start == 2
    assert merged(store, longest=2).stranger(0).ids.tolist() == [2, 50, 50]


def test_each_kind_carries_its_own_reference(tmp_path: Path) -> None:
    store = store_of(tmp_path / "g", [1, 2, 3])
    for name, values in (("reference", [-1, -2, -3]), ("stranger_reference", [-7, -8, -9])):
        store = store.with_numbers(name, np.array(values, dtype=np.float32))
    group = merged(store, shuffle=False).row(0, 0)
    assert [reply.numbers["reference"] for reply in group.replies] == [-1, -2, -3, -7, -8, -9]
    assert all(reply.numbers.keys() == {"wanted", "stranger", "reference"} for reply in group.replies)


def test_a_row_needs_a_reply(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows of 0 replies cannot be made"):
        merged(store_of(tmp_path / "g", [1, 2]), together=0)
