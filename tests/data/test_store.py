import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatwright.data import store as module
from chatwright.data.store import TokenStore, write_store
from chatwright.errors import UserError

DOCUMENTS = [np.array(ids) for ids in ([9, 1, 2], [9], [9, 3, 4, 5])]


def plain(documents: list[np.ndarray]) -> Iterator[tuple[np.ndarray, None]]:
    return ((ids, None) for ids in documents)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    write_store(
        tmp_path / "s", plain(DOCUMENTS), vocab_size=10, tokenizer="abc", facts=lambda: {"text_bytes": 7}
    )
    store = TokenStore.open(tmp_path / "s", tokenizer="abc")
    assert [store.document(index).tolist() for index in range(3)] == [ids.tolist() for ids in DOCUMENTS]
    assert (store.num_documents, store.num_tokens, store.num_learnt, store.text_bytes) == (3, 8, 8, 7)
    assert store.lengths().tolist() == [3, 1, 4]
    assert store.slice(2, 5).tolist() == [2, 9, 9]
    assert store.mask is None
    assert not store.tokens.flags.writeable


@pytest.mark.parametrize(("size", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_the_widest_id_survives(tmp_path: Path, size: int, dtype: type) -> None:
    store = write_store(tmp_path / "s", plain([np.array([size - 1, 0])]), vocab_size=size)
    assert store.tokens.dtype == dtype
    assert store.document(0).tolist() == [size - 1, 0]


def test_a_mask_goes_with_its_tokens(tmp_path: Path) -> None:
    documents = [(np.array([1, 2]), np.array([False, True])), (np.array([3]), np.array([True]))]
    store = write_store(tmp_path / "s", iter(documents), vocab_size=10)
    assert store.mask is not None
    assert store.mask.tolist() == [0, 1, 1]
    assert store.num_learnt == 2


def test_empty_documents_leave_no_trace(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", plain([np.array([], dtype=int), np.array([1])]), vocab_size=10)
    assert store.lengths().tolist() == [1]


def test_nothing_at_all_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to put into"):
        write_store(tmp_path / "s", plain([]), vocab_size=10)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_breaks_off_is_not_there_and_the_old_one_stays(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[np.ndarray, None]]:
        yield np.array([7]), None
        raise KeyboardInterrupt

    write_store(tmp_path / "s", plain(DOCUMENTS), vocab_size=10)
    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "s", broken(), vocab_size=10)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert TokenStore.open(tmp_path / "s").num_tokens == 8


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write_arrays", full)
    with pytest.raises(UserError, match="disk is full"):
        write_store(tmp_path / "s", plain(DOCUMENTS), vocab_size=10)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"store\.json is missing"):
        TokenStore.open(tmp_path)
    directory = tmp_path / "s"
    write_store(directory, plain(DOCUMENTS), vocab_size=10, tokenizer="abc")
    with pytest.raises(UserError, match="another tokenizer"):
        TokenStore.open(directory, tokenizer="abd")
    with (directory / "tokens.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"tokens\.bin is damaged: 17 bytes where 16 belong"):
        TokenStore.open(directory)
    (directory / "tokens.bin").unlink()
    with pytest.raises(UserError, match="is damaged: 0 bytes"):
        TokenStore.open(directory)
    (directory / "store.json").write_text(json.dumps({"tokens": 8}))
    with pytest.raises(UserError, match="lacks documents, dtype"):
        TokenStore.open(directory)
    (directory / "store.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        TokenStore.open(directory)


def test_bugs_of_ours_are_asserted(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_store(tmp_path / "s", plain([np.array([10])]), vocab_size=10)
    mixed = [(np.array([1]), None), (np.array([1]), np.array([True]))]
    with pytest.raises(AssertionError):
        write_store(tmp_path / "s", iter(mixed), vocab_size=10)
