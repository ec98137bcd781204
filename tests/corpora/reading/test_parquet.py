from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatwright.corpora.reading import parquet
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError, ignore
from chatwright.corpora.reading.skipped import Skipped
from helpers import hostile


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten thousand rows in groups of 4500, so in batches of 4096, 404, 4096, 404 and 1000."""
    path = tmp_path / "a.parquet"
    rows = {
        "text": [f"text {n}" for n in range(10_000)],
        "content": [None] * 10_000,
        "n": list(range(10_000)),
    }
    pq.write_table(pa.table(rows), path, row_group_size=4500)
    return path


def test_batches_are_numbered_and_bounded(table: Path) -> None:
    read: list[int] = []
    found = [(first, batch.num_rows) for first, batch in parquet.batches(table, ["n"], read.append)]
    assert found == [(1, 4096), (4097, 404), (4501, 4096), (8597, 404), (9001, 1000)]
    assert 0 < sum(read) <= table.stat().st_size
    assert [first for first, _ in parquet.batches(table, None, ignore, start=3)] == [8597, 9001]


def test_wide_rows_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(
        hostile.parquet(
            [f"{n}" + "x" * (3 << 20) for n in range(12)], compression="none", use_dictionary=False
        )
    )
    assert max(batch.num_rows for _, batch in parquet.batches(path, None, ignore)) <= 6


def test_documents_and_units(table: Path) -> None:
    begun: list[int] = []
    found = list(parquet.documents(File(table, "name", begin=lambda: begun.append(1))))
    assert found[0] == ("name:1", "text 0")
    assert found[-1] == ("name:10000", "text 9999")
    assert len(begun) == 6
    assert list(parquet.documents(File(table, "name", start=4))) == found[9000:]
    assert list(parquet.documents(File(table, "name", start=9))) == []


def test_the_field_of_the_text(table: Path) -> None:
    skipped = Skipped()
    with pytest.raises(
        FileError, match=r"rows without a text in 'content'; its keys are 'content'; say which holds"
    ):
        list(parquet.documents(File(table, "name", skipped, text_field="content")))
    assert skipped["row without text"] == 999
    with pytest.raises(
        FileError, match=r"rows without a text in 'title'; its keys are 'text', 'content', 'n'"
    ):
        list(parquet.documents(File(table, "name", text_field="title")))


def test_what_is_broken_in_the_middle_gives_what_stands_before(table: Path) -> None:
    data = bytearray(table.read_bytes())
    middle = pq.ParquetFile(table).metadata.row_group(1).column(0).data_page_offset
    data[middle : middle + 2000] = b"\xff" * 2000
    table.write_bytes(data)
    found = []
    with pytest.raises(FileError, match="broken or half-written Parquet file"):
        found.extend(parquet.batches(table, ["text"], ignore))
        for first, _ in parquet.batches(table, ["text"], ignore):
            found.append(first)
    found = []
    with pytest.raises(FileError):
        for first, _ in parquet.batches(table, ["text"], ignore):
            found.append(first)
    assert found == [1, 4097]
