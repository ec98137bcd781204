from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chatwright.corpora import store
from chatwright.corpora.documents import Doc
from chatwright.corpora.split import Side
from chatwright.corpora.store import COLUMNS, ShardWriter, count, documents, shards, stored, stored_in
from chatwright.errors import UserError

SIDES: tuple[Side, Side] = ("train", "validation")


def fill(directory: Path, number: int = 10) -> list[Doc]:
    made = [
        Doc(f"id{i}", "books/", f"text {i} 文字 🙂\n" * (i % 5 + 1), "zh-Hans", ("toxic", "code")[: i % 3])
        for i in range(number)
    ]
    for side in SIDES:
        with ShardWriter(directory / f"{side}-00000.parquet") as shard:
            for index, doc in enumerate(made):
                if (side == "validation") == (index % 5 == 0):
                    shard.write(doc)
    return made


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "corpus"
    made = fill(directory)
    assert sorted(path.name for path in directory.iterdir()) == [
        "train-00000.parquet",
        "validation-00000.parquet",
    ]
    assert list(stored(directory, "validation")) == [made[0], made[5]]
    assert list(documents(directory, "train")) == [doc.text for i, doc in enumerate(made) if i % 5]
    assert count(directory, "train") == 8


def test_many_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_GROUP_CHARACTERS", 100)
    made = fill(tmp_path, 200)
    assert pq.ParquetFile(shards(tmp_path, "train")[0]).num_row_groups > 5
    assert list(stored(tmp_path, "train")) == [doc for i, doc in enumerate(made) if i % 5]
    assert list(stored_in(shards(tmp_path, "validation")[0])) == made[::5]
    assert count(tmp_path, "train") + count(tmp_path, "validation") == 200


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "train-00000.parquet"):
        pass
    assert list(stored(tmp_path, "train")) == []


def test_others_can_read_the_shards(tmp_path: Path) -> None:
    fill(tmp_path)
    table = pq.read_table(shards(tmp_path, "train")[0])
    assert table.column_names == [*COLUMNS] == ["id", "source", "language", "marks", "text"]


def test_the_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    for side in SIDES:
        first, second = shards(tmp_path / "a", side), shards(tmp_path / "b", side)
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_after_an_exception_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_GROUP_CHARACTERS", 10)
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "train-00000.parquet") as shard:
        for number in range(9):
            shard.write(Doc(str(number), "s", "text of some length"))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("group", [10, 1000])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    def full(path: Path) -> Path:
        aside = path.with_name(path.name + ".tmp")
        if not aside.is_symlink():
            aside.symlink_to("/dev/full")
        return aside

    monkeypatch.setattr(store, "aside_of", full)
    monkeypatch.setattr(store, "_GROUP_CHARACTERS", group)
    with (
        pytest.raises(UserError, match="the disk is full; free some space"),
        ShardWriter(tmp_path / "train-00000.parquet") as shard,
    ):
        for number in range(3):
            shard.write(Doc(str(number), "s", str(number) * 100_000))
    assert list(tmp_path.iterdir()) == []


def test_bad_directories(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a corpus \(no train-00000.parquet in it\)"):
        list(documents(tmp_path, "train"))
    fill(tmp_path)
    with pytest.raises(UserError, match="no side 'test'; it has train and validation"):
        list(documents(tmp_path, "test"))  # type: ignore[arg-type]
    shard = shards(tmp_path, "train")[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"train-00000.parquet: cannot be read .* make the corpus again"):
        list(documents(tmp_path, "train"))
