import contextlib
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.parquet import columns as parquet_columns
from chatwright.corpora.reading.raw import FileError
from chatwright.corpora.reading.rows import rows

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
        ("a.csv", b"a,b\n", "it holds no rows"),
        ("a.xls", b"a,b\n", r"no rows are read from files of the type '\.xls'"),
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


TABLE = 'id,text\r\n1,"two\nlines, ""quoted"""\r\n2,\r\n3,字\r\n'
TABLE_ROWS = [{"id": "1", "text": 'two\nlines, "quoted"'}, {"id": "2", "text": ""}, {"id": "3", "text": "字"}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", TABLE.encode()),
        ("bom.csv", TABLE.encode("utf-8-sig")),
        ("a.csv.gz", gzip.compress(TABLE.encode())),
        ("a.tsv", b'id\ttext\n1\t"as it stands"\n'),
    ],
)
def test_tables(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found = values(path)
    assert found == ([{"id": "1", "text": '"as it stands"'}] if name == "a.tsv" else TABLE_ROWS)


def test_a_table_that_never_closes_its_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.corpora.reading.rows._LONGEST_FIELD", 1000)
    path = tmp_path / "a.csv"
    path.write_text('text\ngood\n"' + "word\n" * 1000)
    skipped = Tally()
    assert values(path, skipped) == [{"text": "good"}]
    assert list(skipped) == ["broken CSV (field larger than field limit (1000))"]
    path.write_text("text\ngood\n" + "x" * 5000)
    skipped = Tally()
    assert values(path, skipped) == [{"text": "good"}]
    assert sum(skipped.values()) == 1


CHINESE_ROWS = [
    {"text": "我们在这里学习如何训练一个语言模型，它会回答你的问题。"},
    {"text": "第二行也是中文。"},
]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_rows_in_other_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    path = tmp_path / name
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in CHINESE_ROWS)
    path.write_bytes(
        (lines if name == "a.jsonl" else json.dumps(CHINESE_ROWS, ensure_ascii=False)).encode(encoding)
    )
    assert values(path) == CHINESE_ROWS


def test_a_broken_byte_costs_its_row_only(tmp_path: Path) -> None:
    good = json.dumps(CHINESE_ROWS[0], ensure_ascii=False)
    path = tmp_path / "a.jsonl"
    for encoding in ("utf-8", "gb18030"):
        line = good.encode(encoding)
        path.write_bytes(line + b"\n" + line[:20] + b"\xff\xff" + line[20:] + b"\n" + line + b"\n")
        skipped = Tally()
        assert values(path, skipped) == [CHINESE_ROWS[0]] * 2
        assert skipped == {"broken JSON": 1}


def test_lines_too_long_for_memory_are_left_out_and_the_next_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatwright.corpora.reading.rows._LONGEST_LINE", 3 << 20)
    path = tmp_path / "a.jsonl"
    long = json.dumps({"a": "x" * (5 << 20)})
    path.write_text(f'{{"a": 1}}\n{long}\n{{"a": 2}}\n{long}')
    skipped = Tally()
    assert values(path, skipped) == [{"a": 1}, {"a": 2}]
    assert skipped.places == {"line of more than 3 MB": f"{path}:2"}
    assert sum(skipped.values()) == 2
    path.write_text(f"{long}\n" + '{"a": "xxxxxxxxxxxxxxxxx"}\n' * 100_000)
    assert len(values(path)) == 100_000


def test_rows_of_very_many_values_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.corpora.reading.rows._MOST_VALUES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": [' + "[]," * 2000 + '1]}\n{"a": "' + "words and more " * 2000 + '"}\n')
    skipped = Tally()
    assert len(values(path, skipped)) == 1
    assert skipped == {"row of more than 1,000 values": 1}


def test_what_only_the_lenient_parser_takes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": NaN, "b": "x"}\n{"b": "\\ud83d"}\n')
    assert [row["b"] for row in values(path)] == ["x", "\ud83d"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), min_size=1, max_size=6), st.booleans()
)
def test_any_rows_come_back(tmp_path: Path, given_rows: list[dict[str, Any]], escaped: bool) -> None:
    for name, text in (
        ("a.jsonl", "".join(json.dumps(row, ensure_ascii=escaped) + "\n" for row in given_rows)),
        ("a.json", json.dumps(given_rows, ensure_ascii=escaped)),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        if "?" not in text:
            assert values(path) == given_rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.parquet"]),
)
def test_no_bytes_are_worse_than_a_refusal(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with contextlib.suppress(FileError):
        assert all(isinstance(row, dict) for row in values(path))
