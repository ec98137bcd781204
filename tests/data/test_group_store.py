from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from chatwright.data.group_store import GroupRows, GroupStore, save_array
from chatwright.data.packing import RowOrder
from chatwright.data.store import write_store
from chatwright.errors import UserError
from chatwright.files import atomic_write


def make(directory: Path, *groups: list[int]) -> GroupStore:
    """Groups of sequences of these lengths; sequence s is s, s, s …, its reply the last token."""
    lengths = [length for group in groups for length in group]
    documents = [
        (np.full(length, index), np.arange(length) == length - 1) for index, length in enumerate(lengths)
    ]
    write_store(directory, iter(documents), vocab_size=100, tokenizer="abc")
    save_array(directory / "groups.npy", np.array([0, *accumulate(map(len, groups))]))
    save_array(directory / "rank.npy", np.arange(len(lengths), dtype=np.float32))
    return GroupStore.open(directory, "abc")


def test_groups_hold_their_sequences(tmp_path: Path) -> None:
    store = make(tmp_path / "g", [3, 2], [5], [2, 7, 4])
    assert (store.num_groups, store.num_sequences, store.directory) == (3, 6, tmp_path / "g")
    assert store.lengths().tolist() == [3, 5, 7]
    group = store.group(2)
    assert [reply.ids.tolist() for reply in group.replies] == [[3] * 2, [4] * 7, [5] * 4]
    assert [reply.start for reply in group.replies] == [1, 6, 3]
    assert [reply.numbers for reply in group.replies] == [{"rank": 3.0}, {"rank": 4.0}, {"rank": 5.0}]
    assert (group.longest, group.size) == (7, 13)


def test_numbers_are_added_in_memory_or_in_the_folder(tmp_path: Path) -> None:
    store = make(tmp_path / "g", [3, 2], [5])
    values = np.array([-1.5, -2.5, -3.5], dtype=np.float32)
    assert store.with_numbers("ref-logp", values).group(1).replies[0].numbers == {
        "rank": 2.0,
        "ref-logp": -3.5,
    }
    assert "ref-logp" not in GroupStore.open(tmp_path / "g").numbers
    assert store.numbers.keys() == {"rank"}
    assert store.save_numbers("ref-logp", values).group(0).replies[1].numbers["ref-logp"] == -2.5
    again = GroupStore.open(tmp_path / "g")
    assert again.numbers["ref-logp"].tolist() == values.tolist()
    held = again.save_numbers("ref-logp", values + 1)
    assert (again.numbers["ref-logp"].tolist(), held.numbers["ref-logp"].tolist()) == (
        [-1.5, -2.5, -3.5],
        [-0.5, -1.5, -2.5],
    )
    for name, wrong in [("groups", values), ("../x", values), ("x", values[:2])]:
        with pytest.raises(AssertionError):
            store.save_numbers(name, wrong)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path / "g", [3, 2])
    before = sorted(path.name for path in store.directory.iterdir())
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError, match="killed"):
        store.save_numbers("rank", np.array([7, 8], dtype=np.float32))
    assert GroupStore.open(tmp_path / "g").numbers["rank"].tolist() == [0, 1]
    assert sorted(path.name for path in store.directory.iterdir()) == before


def test_a_folder_that_is_no_store_of_groups_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "g", [3, 2], [5]).directory
    with pytest.raises(UserError, match="encoded with another tokenizer"):
        GroupStore.open(folder, "xyz")
    with pytest.raises(UserError, match="there is no token store in"):
        GroupStore.open(tmp_path / "nowhere")
    whole = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    for name, broken in [
        ("rank.npy", np.zeros(2, dtype=np.float32)),
        ("rank.npy", np.zeros(3)),
        ("groups.npy", np.array([0, 2, 4])),
        ("groups.npy", np.array([0, 2, 2, 3])),
        ("groups.npy", np.array([1, 3])),
        ("groups.npy", np.array([[0, 3]])),
        ("groups.npy", np.array([], dtype=np.int64)),
    ]:
        save_array(folder / name, broken)
        with pytest.raises(UserError, match=f"{name} is damaged; delete its folder"):
            GroupStore.open(folder)
        atomic_write(folder / name, whole[name])
    for content in (b"", b"\x93NUMPY", whole["rank.npy"][:-1]):
        atomic_write(folder / "rank.npy", content)
        with pytest.raises(UserError, match=r"rank\.npy is damaged"):
            GroupStore.open(folder)
    atomic_write(folder / "rank.npy", whole["rank.npy"])
    assert GroupStore.open(folder).num_groups == 2
    (folder / "groups.npy").unlink()
    with pytest.raises(UserError, match=r"there are no groups in .*groups\.npy is missing"):
        GroupStore.open(folder)
    write_store(tmp_path / "plain", [(np.array([1, 2, 3]), None)], vocab_size=100)
    save_array(tmp_path / "plain" / "groups.npy", np.array([0, 1]))
    with pytest.raises(UserError, match="is damaged"):
        GroupStore.open(tmp_path / "plain")


def firsts(rows: GroupRows, epoch: int) -> list[int]:
    """The first sequence of each row, which says which group it is."""
    return [int(rows.row(epoch, index).replies[0].ids[0]) for index in range(rows.rows_in_epoch(epoch))]


def test_every_group_is_a_row_once_an_epoch(tmp_path: Path) -> None:
    store = make(tmp_path / "g", *([2, 3] for _ in range(30)))
    rows = GroupRows(store, seed=1)
    epochs = [firsts(rows, epoch) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(0, 60, 2)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert firsts(GroupRows(store, seed=2), 0) != epochs[0]
    assert firsts(GroupRows(store, seed=1, shuffle=False), 5) == list(range(0, 60, 2))
    assert rows.skipped == 0


def test_a_row_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    store = make(tmp_path / "g", *([2, 3] for _ in range(12)))
    straight = [firsts(GroupRows(store, seed=3), epoch) for epoch in range(2)]
    rows = GroupRows(store, seed=3)
    for epoch, index in [(1, 4), (0, 11), (1, 0), (0, 4)]:
        assert rows.row(epoch, index).replies[0].ids[0] == straight[epoch][index]
    assert RowOrder(GroupRows(store, seed=3)).row(12 + 4).replies[0].ids[0] == straight[1][4]


def test_groups_over_the_limit_are_left_out_whole_and_counted(tmp_path: Path) -> None:
    store = make(tmp_path / "g", [3, 5], [2, 9], [4], [9], [5, 5, 5])
    rows = GroupRows(store, shuffle=False, limit=5)
    assert (rows.rows_in_epoch(0), rows.skipped) == (3, 2)
    assert firsts(rows, 0) == [0, 4, 6]
    assert rows.row(0, 0).longest == 5
    assert sorted(firsts(GroupRows(store, limit=5), 1)) == [0, 4, 6]
    with pytest.raises(
        UserError, match="fits into 3 tokens, prompt and reply; the shortest has 4: raise the limit"
    ):
        GroupRows(store, limit=3)
    with pytest.raises(UserError, match="seed=-1 should be 0 or more"):
        GroupRows(store, seed=-1)
