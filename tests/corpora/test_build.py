import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatwright import registry
from chatwright.corpora.build import CorpusOptions, Counted, Size, build_corpus
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.split import SIDES
from chatwright.corpora.store import count, documents, stored
from chatwright.errors import UserError


def write_rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_the_whole_way_with_every_count(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "a.txt").write_bytes(b"\xef\xbb\xbfFirst book.\r\nIts second line.\r\n")
    (books / "b.md").write_text("Second bookâ€™s text")
    (books / "c.txt").write_text("First book.\nIts second line.")
    (books / "blank.txt").write_text(" \n")
    (books / "cover.png").write_bytes(b"\x89PNG")
    rows = write_rows(tmp_path / "rows.jsonl", [f"row {i}" for i in range(300)] + ["row 7"])
    with rows.open("a") as file:
        file.write("{broken\n")
    report = build_corpus([books, rows], tmp_path / "out", CorpusOptions(validation=0.05))
    assert report.read.documents == 4 + 301
    assert report.kept.documents == 2 + 300
    assert report.dropped == {
        "exact duplicate": Counted(2, str(books / "c.txt")),
        "empty": Counted(1, str(books / "blank.txt")),
    }
    assert report.changed == {"repaired": Counted(2, str(books / "a.txt"))}
    assert report.skipped == {
        "file type .png": Counted(1, str(books / "cover.png")),
        "broken JSON": Counted(1, f"{rows}:302"),
    }
    assert report.inputs[str(books)].kept.documents == 2
    assert report.inputs[str(rows)].read.documents == 301
    assert report.files == 5
    found = [doc for side in SIDES for doc in stored(tmp_path / "out", side)]
    texts = {doc.id: doc.text for doc in found}
    assert texts[str(books / "a.txt")] == "First book.\nIts second line.\n"
    assert texts[str(books / "b.md")] == "Second book’s text"
    size = Size(len(found), sum(len(d.text) for d in found), sum(len(d.text.encode()) for d in found))
    assert report.kept == size
    assert report.train.documents == count(tmp_path / "out", "train")
    assert report.validation.documents == count(tmp_path / "out", "validation") > 3
    json.dumps(dataclasses.asdict(report))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [f"row {i} é 字" for i in range(1000)])
    reports = [build_corpus([rows], tmp_path / name) for name in ("a", "b")]
    assert reports[0] == reports[1]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize("text", ["ab", "One line.", "One line.\n", "字字", "a b\n" * 2500])
def test_one_tiny_file_is_enough(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    report = build_corpus([tmp_path / "a.txt"], tmp_path / "out")
    assert report.train.documents == report.validation.documents == 1
    assert (
        "".join([*documents(tmp_path / "out", "train"), *documents(tmp_path / "out", "validation")]) == text
    )


def test_two_lines_of_jsonl(tmp_path: Path) -> None:
    build_corpus([write_rows(tmp_path / "a.jsonl", ["one", "two"])], tmp_path / "out")
    assert {*documents(tmp_path / "out", "train"), *documents(tmp_path / "out", "validation")} == {
        "one",
        "two",
    }


def test_inputs_without_text_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"no text in .*empty; give \.txt"):
        build_corpus([empty], tmp_path / "out")
    (empty / "a.pdf").write_bytes(b"%PDF")
    (empty / "blank.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"left out: 1 file type \.pdf \(first: .*a\.pdf\), 1 empty"):
        build_corpus([empty], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (empty / "blank.txt").write_text("x")
    with pytest.raises(UserError, match="at least 2 characters"):
        build_corpus([empty], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CorpusOptions(validation=0.9), "validation=0.9 is not a share between 0 and 0.5"),
        (CorpusOptions(validation=-1.0), "not a share"),
        (CorpusOptions(steps=("repare",)), "unknown corpus operator 'repare'; did you mean 'repair'"),
        (CorpusOptions(text_field="txt"), "'txt'; its keys are 'text'"),
    ],
)
def test_bad_options(tmp_path: Path, options: CorpusOptions, said: str) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(UserError, match=said):
        build_corpus([rows], tmp_path / "out", options)


def test_without_steps_texts_stay_as_they_are(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one\r\n", "one\r\n", "two\x00", " "])
    report = build_corpus([rows], tmp_path / "out", CorpusOptions(steps=()))
    assert report.kept.documents == 3
    assert not report.changed


def drop_short(documents: Iterator[Doc], notes: Notes) -> Iterator[Doc]:
    for doc in documents:
        if len(doc.text) > 3:
            yield doc
        else:
            notes.dropped.add("short", doc.id)


def test_another_operator_is_one_line_in_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.table("corpus_operator"), "drop_short", f"{__name__}:drop_short")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[drop_short.__module__])
    rows = write_rows(tmp_path / "a.jsonl", ["one", "three", "seven"])
    report = build_corpus([rows], tmp_path / "out", CorpusOptions(steps=("drop_short",)))
    assert report.dropped == {"short": Counted(1, f"{rows}:1")}


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", [f"row {i}" for i in range(1000)])
    (tmp_path / "b.txt").write_text("text")
    seen: list[tuple[int, int]] = []
    build_corpus([tmp_path], tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (rows.stat().st_size + 4,) * 2
    assert seen == sorted(seen)


def test_named_source_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    report = build_corpus([tmp_path / "a.txt", "python:json"], tmp_path / "out")
    assert report.inputs["python:json"].kept.documents > 5


def test_the_package_needs_no_torch() -> None:
    code = "import sys, chatwright.corpora.build; assert not {'torch', 'pyarrow', 'ftfy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_200_mb_stream_in_bounded_memory(tmp_path: Path) -> None:
    code = """
import json, random, resource, sys
from chatwright.corpora.build import build_corpus
import pyarrow.parquet, zstandard, ftfy
rng = random.Random(0)
words = [f"{rng.getrandbits(40):x}" for _ in range(5000)]
with open(sys.argv[1] + "/big.jsonl", "w") as file:
    for i in range(100_000):
        file.write(json.dumps({"text": f"{i} " + " ".join(rng.choices(words, k=190))}) + "\\n")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = build_corpus([sys.argv[1] + "/big.jsonl"], sys.argv[1] + "/out")
print(report.read.bytes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    size, grown = map(int, done.stdout.split())
    assert size > 190_000_000
    assert grown < 300_000_000


def test_named_sources_leave_out_what_is_named_and_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "json.decoder.txt").write_text("A file of that name.")
    inputs = ["python:json", tmp_path / "json.decoder.txt"]
    report = build_corpus(inputs, tmp_path / "out", CorpusOptions(without=("json.decoder", "json.dump")))
    found = {doc.id.rpartition("/")[2] for side in SIDES for doc in stored(tmp_path / "out", side)}
    assert {"json", "json.dumps", "json.JSONDecoder", "json.decoder.txt"} <= found
    assert "json.dump" not in found
    assert report.dropped["left out by name"].count == report.read.documents - report.kept.documents >= 1


def test_a_name_that_no_named_source_has_is_refused(tmp_path: Path) -> None:
    options = CorpusOptions(without=("json", "jsn"))
    with pytest.raises(UserError, match="without=jsn: no named source of this corpus has it; correct"):
        build_corpus(["python:json", "python:textwrap"], tmp_path / "out", options)
    assert not list((tmp_path / "out").glob("*.parquet"))
