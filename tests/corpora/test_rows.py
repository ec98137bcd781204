import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from chatwright.corpora.documents import Tally
from chatwright.corpora.raw import FileError
from chatwright.corpora.rows import parquet_columns, rows

ROWS = [{"text": f'document {i} 文\n"quoted"', "n": i} for i in range(50)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def values(path: Path, skipped: Tally | None = None) -> list[dict[str, object]]:
    return [row for _, row in rows(path, Tally() if skipped is None else skipped)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.ndjson", LINES.rstrip("\n").encode()),
        ("bom.jsonl", LINES.encode("utf-8-sig")),
        ("crlf.jsonl", LINES.replace("}\n", "}\r\n\r\n").encode()),
        ("utf16.jsonl", LINES.encode("utf-16")),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("a.jsonl.zst", zstandard.compress(LINES.encode())),
        ("array.json", json.dumps(ROWS).encode()),
        ("indented.json", json.dumps(ROWS, indent=2, ensure_ascii=False).encode()),
        ("lines.json", LINES.encode()),
        ("array.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("series.json", "\n".join(json.dumps(row, indent=1) for row in ROWS).encode()),
    ],
)
def test_every_shape_gives_the_same_rows(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    skipped = Tally()
    assert values(path, skipped) == ROWS
    assert not skipped


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    assert values(path) == ROWS
    assert [place for place, _ in rows(path, Tally())][-1] == f"{path}:50"
    assert parquet_columns(path) == ["text", "n"]
    assert next(rows(path, Tally(), columns=["n"])) == (f"{path}:1", {"n": 0})


def test_single_object(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"text": "x", "more": [1, {"a": 2}]}, indent=4))
    assert values(path) == [{"text": "x", "more": [1, {"a": 2}]}]


def test_places_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [place for place, _ in rows(path, Tally())] == [f"{path}:1", f"{path}:3"]
    path = tmp_path / "b.json"
    path.write_text(json.dumps([{"a": 1}, {"a": 2}], indent=1))
    assert [place for place, _ in rows(path, Tally())] == [f"{path}:2", f"{path}:5"]


def test_broken_lines_are_counted_with_the_first_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n[1]\n"text"\n{"a": 3}\n{"a": "\xff"}\n' + b"[" * 100_000 + b"\n{}")
    skipped = Tally()
    assert values(path, skipped) == [{"a": 1}, {"a": 3}, {}]
    assert skipped == {"broken JSON": 3, "row that is not an object": 2}
    assert skipped.places == {"broken JSON": f"{path}:2", "row that is not an object": f"{path}:3"}


def test_a_plain_counter_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\nbroken')
    skipped: Counter[str] = Counter()
    assert len(list(rows(path, skipped))) == 1
    assert skipped == {"broken JSON": 1}


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2}, {"a"', '[{"a": 1}, {"a": 2}, ', '[{"a": 1}, {"a": 2} oops ]']
)
def test_a_broken_array_gives_what_stands_before(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    skipped = Tally()
    assert values(path, skipped) == [{"a": 1}, {"a": 2}]
    assert skipped == {"broken JSON": 1}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b"not json\nat all\n", r"no whole row in it; the first, .*a\.jsonl:1, is a broken JSON"),
        ("a.json", b"[1, 2]", "is a row that is not an object"),
        ("a.json", b"[]", "it holds no rows"),
        ("a.json", b"  \n", "it holds no rows"),
        ("a.json", b'[{"a": "\xff"}]', "not UTF-8"),
        ("a.jsonl", b"", "empty file"),
        ("a.parquet", b"PAR1 half of a file", "broken or half-written Parquet file"),
        ("a.csv", b"a,b\n", r"no rows are read from files of the type '\.csv'"),
    ],
)
def test_files_without_a_row_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(FileError, match=said) as error:
        values(path)
    assert "\n" not in str(error.value)


def test_half_written_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 100), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match="half-written Parquet"):
        values(path)


def test_long_elements_in_an_array_over_many_chunks(tmp_path: Path) -> None:
    long = [{"text": "x" * size} for size in (10, 3 << 20, 5, 9 << 20)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(long))
    assert values(path) == long
