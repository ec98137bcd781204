import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chatwright.corpora.documents import Doc, Tally
from chatwright.corpora.reading.read import discover, read
from chatwright.errors import UserError


def documents(*inputs: str | Path, skipped: Tally | None = None, text_field: str | None = None) -> list[Doc]:
    skipped = Tally() if skipped is None else skipped
    return list(read(discover(inputs, skipped), skipped, text_field))


def texts(*inputs: str | Path) -> list[str]:
    return [doc.text for doc in documents(*inputs)]


def test_folder_is_searched_whole_in_order_and_the_rest_counted(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.md").write_text("three")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "a10.txt").write_text("two")
    (tmp_path / "z.jsonl").write_text('{"text": "four"}\n{"text": "five"}\n')
    (tmp_path / "image.PNG").write_bytes(b"\x89PNG")
    (tmp_path / "Makefile").write_text("all:")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("no")
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "old-run").mkdir()
    (tmp_path / "old-run" / "run.json").write_text("{}")
    (tmp_path / "old-run" / "report.md").write_text("no")
    skipped = Tally()
    found = documents(tmp_path, skipped=skipped)
    assert [doc.text for doc in found] == ["one", "two", "three", "four", "five"]
    assert [doc.id for doc in found][2:4] == [f"{tmp_path}/b/c.md", f"{tmp_path}/z.jsonl:1"]
    assert {doc.source for doc in found} == {str(tmp_path)}
    assert skipped == {
        "hidden": 2,
        "file type .png": 1,
        "file type none": 1,
        "run of chatwright": 1,
        "empty file": 1,
    }
    assert skipped.places["empty file"] == str(tmp_path / "empty.txt")


def test_inputs_keep_their_order_and_globs_are_expanded(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "d.bin").write_bytes(b"\0")
    assert texts(tmp_path / "c.txt", tmp_path / "a.txt") == ["c", "a"]
    assert texts(f"{tmp_path}/[ab]*") == ["a", "b"]
    assert texts(f"{tmp_path}/*") == ["a", "b", "c"]
    (tmp_path / "[x].txt").write_text("a name like a pattern")
    assert texts(tmp_path / "[x].txt") == ["a name like a pattern"]


def test_links_that_loop_or_break(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    skipped = Tally()
    assert [doc.text for doc in documents(tmp_path, skipped=skipped)] == ["one"]
    assert skipped == {"folder linked to twice": 1, "broken link or special file": 3}


def test_named_sources_come_through_the_registry() -> None:
    found = documents("python:json")
    assert found[0].source == "python:json"
    assert any("JSON" in doc.text for doc in found)
    with pytest.raises(UserError, match="no corpus source is called 'pyton'; did you mean 'python'"):
        documents("pyton:stdlib")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.doc", b"\xd0\xcf", r"files of the type '.doc' are not read; give .txt"),
        ("a.pdf", b"%PDF", "broken PDF; make it again"),
        ("a.txt", b"", "empty file"),
        ("a.txt", b"\x00\x01\x02", "binary file"),
        ("a.txt", "Все люди".encode("cp1251"), "not UTF-8; byte 0 is not and looks like cp1251; convert it"),
        ("a.jsonl", b'{"title": "x", "words": 3}\n', "its keys are 'title', 'words'; .* text_field=KEY"),
        ("a.jsonl", b'{"text": 3}\n', "rows without a text in 'text'"),
        ("a.jsonl", b'{"text": "x"\n', "no whole row"),
        ("a.txt.gz", b"not gzip", "not a .gz file"),
    ],
)
def test_a_named_file_that_is_no_use_is_an_error_in_one_line(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError, match=said) as error:
        documents(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_the_same_files_in_a_folder_are_counted(tmp_path: Path) -> None:
    (tmp_path / "bin.txt").write_bytes(b"\0")
    (tmp_path / "russian.txt").write_bytes("Все люди".encode("cp1251"))
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "half.parquet").write_bytes(b"PAR1")
    (tmp_path / "config.json").write_text('{"name": "x"}')
    skipped = Tally()
    assert [doc.text for doc in documents(tmp_path, skipped=skipped)] == ["good"]
    assert skipped["binary file"] == skipped["not UTF-8"] == skipped["no whole row in it"] == 1
    assert skipped["broken or half-written Parquet file"] == 1
    assert any(reason.startswith("rows without a text") for reason in skipped)


def test_missing_inputs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder; check the path"):
        documents(tmp_path / "none")
    with pytest.raises(UserError, match="no file matches"):
        documents(f"{tmp_path}/*.txt")
    with pytest.raises(UserError, match="no input given"):
        documents()


def test_text_field(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"title": "t", "content": "c"}\n{"title": "u"}\n{"text": "x", "content": "y"}\n')
    skipped = Tally()
    assert [doc.text for doc in documents(lines, skipped=skipped)] == ["c", "x"]
    assert skipped == {"row without text": 1}
    assert [doc.text for doc in documents(lines, text_field="title")] == ["t", "u"]
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["one", None, "two"], "n": [1, 2, 3]}), table)
    assert texts(table) == ["one", "two"]
    with pytest.raises(UserError, match="'wrong'; its keys are 'body', 'n'"):
        documents(table, text_field="wrong")


def test_encodings(tmp_path: Path) -> None:
    chinese = "我们在这里学习如何训练一个语言模型，它会回答你的问题。\n"
    for name, encoding in (("a", "utf-8"), ("b", "utf-8-sig"), ("c", "utf-16"), ("d", "gb18030")):
        (tmp_path / f"{name}.txt").write_bytes(chinese.encode(encoding))
    assert texts(tmp_path) == [chinese] * 4


def test_half_written_text_is_kept_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("一二三".encode()[:-1])
    skipped = Tally()
    assert [doc.text for doc in documents(tmp_path / "a.txt", skipped=skipped)] == ["一二"]
    assert skipped == {"half-written file": 1}


def test_lone_surrogates_never_get_in(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b \\ud83d\\ude42"}\n')
    assert texts(tmp_path) == ["ab 🙂"]


def test_file_names_that_are_not_unicode(tmp_path: Path) -> None:
    for name in (b"/\xff.txt", b"/\xfe.txt", "/\N{LATIN SMALL LETTER E WITH ACUTE}.txt".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + name)).write_text("text")
    ids = {doc.id.removeprefix(f"{tmp_path}/") for doc in documents(tmp_path)}
    assert ids == {r"\xff.txt", r"\xfe.txt", "é.txt"}


@pytest.mark.parametrize("name", ["big.txt", "big.txt.gz"])
def test_a_large_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    paragraph = "Some words of a paragraph, 一些字。\n" * 20 + "\n"
    text = paragraph * (18_000_000 // len(paragraph.encode()))
    path = tmp_path / name
    data = text.encode()
    path.write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    found = documents(path)
    assert "".join(doc.text for doc in found) == text
    assert len(found) > 10
    assert all(doc.text.endswith("\n\n") for doc in found)
    assert max(len(doc.text) for doc in found) <= 1 << 20
    assert found[1].id == f"{path}#2"


def test_a_large_text_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("字" * 6_000_000)
    found = documents(path)
    assert sum(len(doc.text) for doc in found) == 6_000_000
    assert max(len(doc.text) for doc in found) <= 1 << 20


def test_a_large_text_with_a_bad_byte_gives_no_document_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain words \n" * 1_300_000 + b"\xff\xff\n")
    with pytest.raises(UserError, match="byte 16900000 is not"):
        next(read(discover([path], Tally()), Tally()))


def test_one_huge_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "word " * 3_000_000}) + "\n")
    assert len(texts(path)[0]) == 15_000_000
