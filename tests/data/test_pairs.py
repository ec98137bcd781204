"""Pairs out of files: layouts, names, columns, and what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from chatwright.corpora.documents import Tally
from chatwright.data.formats import SkipRow
from chatwright.data.pairs import Fields, Pair, pair_of, read_pairs
from chatwright.errors import UserError

ZH = Fields("en", "zh")


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"src": "a", "tgt": "b", "book": "c"}, Fields()),
        ({"source": "a", "target": "b"}, Fields()),
        ({"prompt": "a", "completion": "b"}, Fields()),
        ({"en": " a ", "zh": "b\n"}, ZH),
        ({"translation": {"en": "a", "zh": "b"}}, ZH),
        ({"src": "b", "tgt": "a"}, Fields("tgt", "src")),
    ],
)
def test_every_layout_gives_the_pair(row: dict[str, object], fields: Fields) -> None:
    assert pair_of(row, "f:1", fields) == Pair("a", "b", "f:1")


def test_fields_that_nobody_knows_are_asked_for() -> None:
    with pytest.raises(
        UserError, match=r"f:1: which fields .* has 'en', 'zh'; say it, as source=en target=zh"
    ):
        pair_of({"en": "a", "zh": "b"}, "f:1")
    with pytest.raises(UserError, match=r"f:2: there is no field 'zh'; the row has 'en', 'fr'"):
        pair_of({"en": "a", "fr": "b"}, "f:2", ZH)
    with pytest.raises(UserError, match="give both"):
        Fields("en")
    with pytest.raises(UserError, match="the same field"):
        Fields("en", "en")


@pytest.mark.parametrize("row", [{"en": "", "zh": "b"}, {"en": "a", "zh": " \n"}, {"en": 1, "zh": "b"}])
def test_a_pair_without_two_texts_is_skipped(row: dict[str, object]) -> None:
    with pytest.raises(SkipRow):
        pair_of(row, "f:1", ZH)


def test_what_is_left_out_is_counted_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    rows = [{"en": "a", "zh": "甲"}, {"en": "", "zh": "乙"}, {"en": "c", "zh": "丙"}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n"
    path.write_bytes(gzip.compress(text.encode()))
    skipped = Tally()
    assert [(p.source, p.target) for p in read_pairs(path, ZH, skipped)] == [("a", "甲"), ("c", "丙")]
    assert dict(skipped) == {"empty source or target": 1, "broken JSON": 1}
    assert skipped.places["empty source or target"] == f"{path}:2"


@pytest.mark.parametrize("name", ["p.tsv", "p.tsv.gz"])
@pytest.mark.parametrize(
    ("head", "fields", "wanted"),
    [
        ("", Fields(), ("a", "甲")),
        ("src\ttgt\tbook\n", Fields(), ("a", "甲")),
        ("en\tzh\tbook\n", ZH, ("a", "甲")),
        ("en\tzh\tbook\n", Fields("zh", "en"), ("甲", "a")),
        ("", Fields("2", "1"), ("甲", "a")),
    ],
)
def test_columns_with_and_without_names(
    tmp_path: Path, name: str, head: str, fields: Fields, wanted: tuple[str, str]
) -> None:
    path = tmp_path / name
    content = f"{head}a\t甲\tx\r\n\nno tab\nb\t乙".encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    skipped = Tally()
    pairs = list(read_pairs(path, fields, skipped))
    assert (pairs[0].source, pairs[0].target) == wanted
    assert len(pairs) == 2
    assert dict(skipped) == {"line without a tab": 1}


def test_files_without_pairs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"src": "", "tgt": ""}\n')
    with pytest.raises(UserError, match=r"no pair to learn from in .*p.jsonl: 1 × empty source or target"):
        list(read_pairs(path))
    tsv = tmp_path / "p.tsv"
    tsv.write_text("one column\n")
    with pytest.raises(UserError, match="no line with two columns"):
        list(read_pairs(tsv))
    with pytest.raises(UserError, match="no such file"):
        list(read_pairs(tmp_path / "none.jsonl"))
