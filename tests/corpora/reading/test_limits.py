import gzip
import os
import random
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.limits import Child, Limits
from chatwright.corpora.reading.raw import FileError
from chatwright.corpora.reading.read import discover, read
from chatwright.corpora.reading.skipped import Skipped
from chatwright.errors import UserError
from helpers.hostile import HEAVY, good_text, parquet, pdf, record, shown

TIGHT = Limits(seconds=0.5, megabytes=128)
ENDLESS = HEAVY["deep.html"](None)  # type: ignore[arg-type]


@pytest.fixture
def child() -> Iterator[Child]:
    with closing(Child(TIGHT)) as child:
        yield child


def page(folder: Path, name: str, text: str = "words of a page") -> File:
    (folder / name).write_text(f"<p>{text}</p>")
    return File(folder / name, name, Skipped())


def running(child: Child) -> int:
    assert child._process is not None
    return child._process.pid


def test_one_child_reads_many_files_of_every_kind(tmp_path: Path, child: Child) -> None:
    names = {
        "a.html": b"<p>one</p>",
        "b.pdf": pdf(shown("two")),
        "c.parquet": parquet(["three"]),
        "d.warc.gz": gzip.compress(record("<p>four</p>")),
        "e.htm.gz": gzip.compress(b"<p>five</p>"),
    }
    found, children = [], set()
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
        found += list(child.documents(File(tmp_path / name, name)))
        children.add(running(child))
    assert found == [
        ("a.html", "one"),
        ("b.pdf", "two"),
        ("c.parquet:1", "three"),
        ("d.warc.gz:1 http://a.example/", "four"),
        ("e.htm.gz", "five"),
    ]
    assert len(children) == 1
    child.close()
    assert child._process is None


def test_a_refusal_is_the_same_as_without_a_child(tmp_path: Path, child: Child) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF broken")
    for _ in range(2):
        with pytest.raises(FileError, match=r"a\.pdf: broken PDF; make it again"):
            list(child.documents(File(tmp_path / "a.pdf", "a")))
        assert list(child.documents(page(tmp_path, "b.html"))) == [("b.html", "words of a page")]


def test_what_takes_too_long_is_ended_and_the_next_file_is_read(tmp_path: Path, child: Child) -> None:
    (tmp_path / "bad.html").write_bytes(ENDLESS)
    for _ in range(2):
        with pytest.raises(
            FileError, match=r"takes longer than 0\.5 s; leave it out, or raise limits\.seconds if"
        ):
            list(child.documents(File(tmp_path / "bad.html", "bad")))
        assert list(child.documents(page(tmp_path, "b.html"))) == [("b.html", "words of a page")]


def test_what_hangs_is_ended_by_the_clock_on_the_wall(
    tmp_path: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = child.documents(many(tmp_path))
    next(documents)
    monkeypatch.setattr("chatwright.corpora.reading.limits._PATIENCE", 0.2)
    monkeypatch.setattr("chatwright.corpora.reading.limits._GRACE", 0.2)
    os.kill(running(child), signal.SIGSTOP)
    with pytest.raises(FileError, match=r"many\.parquet: hangs for 0\.3 s; leave it out"):
        list(documents)


def test_what_takes_too_much_memory_is_ended(tmp_path: Path, child: Child) -> None:
    (tmp_path / "bad.parquet").write_bytes(HEAVY["dictionary.parquet"](random.Random(0)))
    for _ in range(2):
        with pytest.raises(
            FileError, match=r"takes more than 128 MB; leave it out, or raise limits\.megabytes if"
        ):
            list(child.documents(File(tmp_path / "bad.parquet", "bad")))
        assert list(child.documents(page(tmp_path, "b.html"))) == [("b.html", "words of a page")]


def test_of_an_archive_only_the_bad_record_is_left_out(tmp_path: Path, child: Child) -> None:
    bad = record(ENDLESS.decode(), address="http://bad/")
    data = b"".join(
        gzip.compress(part) for part in (record("<p>one"), bad, record("<p>two"), bad, record("<p>three"))
    )
    (tmp_path / "a.warc.gz").write_bytes(data)
    for before in ([], [page(tmp_path, "b.html")]):
        child.close()
        for other in before:
            list(child.documents(other))
        skipped = Skipped()
        found = list(child.documents(File(tmp_path / "a.warc.gz", "a", skipped)))
        assert [text for _, text in found] == ["one", "two", "three"]
        assert [id_.split()[0] for id_, _ in found] == ["a:1", "a:3", "a:5"]
        reason = "record takes longer than 0.5 s"
        assert skipped.files == {
            reason: [(str(tmp_path / "a.warc.gz"), "record 2"), (str(tmp_path / "a.warc.gz"), "record 4")]
        }


def test_what_is_left_out_and_read_is_told_across(tmp_path: Path, child: Child) -> None:
    (tmp_path / "a.warc").write_bytes(record("<title>x</title>") + record("<p>y"))
    skipped, read_bytes = Skipped(), list[int]()
    list(child.documents(File(tmp_path / "a.warc", "a", skipped, on_bytes=read_bytes.append)))
    assert skipped == {"record without text": 1}
    assert skipped.places == {"record without text": "a:1 http://a.example/"}
    assert sum(read_bytes) == (tmp_path / "a.warc").stat().st_size
    (tmp_path / "b.html.gz").write_bytes(gzip.compress(b"<p>" + b"word " * 9000)[:-9])
    list(child.documents(File(tmp_path / "b.html.gz", "b", skipped)))
    assert skipped.files == {"half-written file": [(str(tmp_path / "b.html.gz"), "")]}


def many(folder: Path) -> File:
    """A table of several batches, each of more than one message."""
    texts = [f"{n} " + "x" * 400 for n in range(9000)]
    (folder / "many.parquet").write_bytes(parquet(texts))
    return File(folder / "many.parquet", "many", Skipped())


def test_a_fresh_child_that_crashes_costs_the_file(tmp_path: Path, child: Child) -> None:
    documents = child.documents(many(tmp_path))
    next(documents)
    os.kill(running(child), signal.SIGSEGV)
    with pytest.raises(FileError, match="crashes its parser, or takes more than 128 MB"):
        list(documents)
    assert list(child.documents(page(tmp_path, "b.html"))) == [("b.html", "words of a page")]


@pytest.mark.parametrize("after", [1, 700, 4096, 4097, 6000])
def test_a_used_child_that_crashes_costs_nothing(tmp_path: Path, child: Child, after: int) -> None:
    list(child.documents(page(tmp_path, "b.html")))
    documents = child.documents(many(tmp_path))
    found = [next(documents) for _ in range(after)]
    os.kill(running(child), signal.SIGSEGV)
    found += list(documents)
    assert [id_ for id_, _ in found] == [f"many:{n}" for n in range(1, 9001)]


def test_a_child_killed_between_files_is_replaced(tmp_path: Path, child: Child) -> None:
    for _ in range(3):
        assert list(child.documents(page(tmp_path, "b.html"))) == [("b.html", "words of a page")]
        os.kill(running(child), signal.SIGKILL)


def test_a_reader_that_is_left_leaves_no_child(tmp_path: Path) -> None:
    many(tmp_path)
    documents = read(discover([tmp_path], Skipped()), Skipped())
    next(documents)
    assert children() == 1
    documents.close()  # type: ignore[attr-defined]
    assert children() == 0


def children() -> int:
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return len(path.read_text().split()) if path.exists() else pytest.skip("needs Linux")


def test_text_needs_no_child(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(good_text(1))
    documents = read(discover([tmp_path], Skipped()), Skipped())
    next(documents)
    assert children() == 0


def test_names_that_are_not_unicode(tmp_path: Path, child: Child) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.html"))
    path.write_text("<p>words")
    assert list(child.documents(File(path, "name"))) == [("name", "words")]


@pytest.mark.parametrize("limits", [Limits(seconds=0), Limits(megabytes=1), Limits(seconds=-1)])
def test_limits_that_are_none(limits: Limits) -> None:
    with pytest.raises(UserError, match=r"limits\.seconds=.*: give at least 0\.1 and 16"):
        Child(limits)
