import contextlib
import gzip
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.corpora.reading import warc
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError
from chatwright.corpora.reading.skipped import Skipped
from helpers.hostile import pdf, record, shown, warc_record

PAGE = "<html><body><nav>menu</nav><h1>标题</h1><p>这是一个网页，我们在这里说了很多话。</p></body></html>"
TEXT = "标题\n\n这是一个网页，我们在这里说了很多话。"
HTTP = "application/http; msgtype=response"


def response(body: bytes, head: str, status: str = "200 OK", address: str = "http://a/") -> bytes:
    http = f"HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return warc_record(http, "response", HTTP, address)


RECORDS = [
    warc_record(b"software: x\r\n", "warcinfo", "application/warc-fields"),
    record(PAGE, address="http://a/1"),
    response(PAGE.encode("gbk"), "Content-Type: text/html; charset=gbk", address="http://a/2"),
    response(
        gzip.compress(PAGE.encode()),
        "Content-Type: text/html\r\nContent-Encoding: gzip",
        address="http://a/3",
    ),
    response(b"<p>not here", "Content-Type: text/html", "404 Not Found", "http://a/4"),
    response(b"\x89PNG", "Content-Type: image/png", address="http://a/5"),
    warc_record(b"GET / HTTP/1.1\r\n\r\n", "request", "application/http; msgtype=request"),
    warc_record("plain text 文本".encode(), "conversion", "text/plain", "http://a/6"),
    response(pdf(shown("A page of a PDF.")), "Content-Type: application/pdf", address="http://a/7"),
    response(b"<title>nothing</title>", "Content-Type: text/html", address="http://a/8"),
    warc_record(b"<p>of a resource</p>", "resource", "text/html", "http://a/9"),
]


def read(path: Path, data: bytes, **options: int) -> tuple[list[tuple[str, str]], Skipped]:
    path.write_bytes(data)
    skipped = Skipped()
    return list(warc.documents(File(path, "w", skipped, **options))), skipped  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "one.warc.gz", "a.warc.zst"])
def test_pages_texts_and_pdfs_with_their_addresses(tmp_path: Path, name: str) -> None:
    whole = b"".join(RECORDS)
    data = {
        "a.warc": whole,
        "a.warc.gz": b"".join(map(gzip.compress, RECORDS)),
        "one.warc.gz": gzip.compress(whole),
        "a.warc.zst": zstandard.compress(whole),
    }[name]
    found, skipped = read(tmp_path / name, data)
    assert found == [
        ("w:1 http://a/1", TEXT),
        ("w:2 http://a/2", TEXT),
        ("w:3 http://a/3", TEXT),
        ("w:6 http://a/6", "plain text 文本"),
        ("w:7 http://a/7", "A page of a PDF."),
        ("w:9 http://a/9", "of a resource"),
    ]
    assert skipped == {
        "record of an error page": 1,
        "record of the type image/png": 1,
        "record without text": 1,
    }
    assert skipped.places["record of an error page"] == "w:4 http://a/4"


def test_records_that_were_read_before_are_left_out(tmp_path: Path) -> None:
    found, _ = read(tmp_path / "a.warc", b"".join(RECORDS), start=6)
    assert [id_ for id_, _ in found] == ["w:7 http://a/7", "w:9 http://a/9"]
    assert read(tmp_path / "a.warc", b"".join(RECORDS), start=99)[0] == []


def test_each_record_is_a_unit_of_work(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(RECORDS))
    begun: list[int] = []
    list(warc.documents(File(path, "w", begin=lambda: begun.append(1))))
    assert len(begun) == 9


def test_half_of_an_archive(tmp_path: Path) -> None:
    data = b"".join(map(gzip.compress, RECORDS[:4]))
    found, skipped = read(tmp_path / "a.warc.gz", data[: -len(gzip.compress(RECORDS[3])) // 2])
    assert found[:2] == [("w:1 http://a/1", TEXT), ("w:2 http://a/2", TEXT)]
    assert skipped["half-written file"] == 1


def test_one_bad_record_costs_no_other(tmp_path: Path) -> None:
    bad = [
        response(b"not gzip at all", "Content-Type: text/html\r\nContent-Encoding: gzip"),
        response(b"\xff\xfe\xc0" * 50, "Content-Type: text/html"),
        response(b"%PDF-1.4 broken", "Content-Type: application/pdf"),
    ]
    found, skipped = read(tmp_path / "a.warc", RECORDS[1] + b"".join(bad) + RECORDS[2])
    assert [text for _, text in found] == [TEXT, TEXT]
    assert skipped == {"broken record": 1, "record: page in an unknown encoding": 1, "record: broken PDF": 1}


def test_the_packings_of_http(tmp_path: Path) -> None:
    page = PAGE.encode()
    chunked = b"5\r\n" + page[:5] + b"\r\n%x;name=value\r\n" % len(page[5:]) + page[5:] + b"\r\n0\r\n\r\n"
    raw = zlib.compressobj(wbits=-15)
    bodies = [
        (chunked, "Transfer-Encoding: chunked"),
        (zlib.compress(page), "Content-Encoding: deflate"),
        (raw.compress(page) + raw.flush(), "Content-Encoding: deflate"),
        (page, "Content-Encoding: identity"),
    ]
    data = b"".join(response(body, f"Content-Type: text/html\r\n{head}") for body, head in bodies)
    found, skipped = read(tmp_path / "a.warc", data)
    assert [text for _, text in found] == [TEXT] * 4
    assert not skipped
    for body, head in ((b"x", "Content-Encoding: br"), (b"zz\r\nx", "Transfer-Encoding: chunked")):
        skipped = read(
            tmp_path / "a.warc", response(body, f"Content-Type: text/html\r\n{head}") + RECORDS[1]
        )[1]
        assert skipped == {"broken record": 1}


def test_records_longer_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "LARGEST", 1 << 20)
    bomb = gzip.compress(b"<p>" + b"x" * (3 << 20))
    data = response(bomb, "Content-Type: text/html\r\nContent-Encoding: gzip") + RECORDS[1]
    found, skipped = read(tmp_path / "a.warc", data)
    assert [text for _, text in found] == [TEXT]
    assert skipped == {"record of more than 1 MB": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no archive at all " * 99, "broken WARC file"),
        (RECORDS[0] + RECORDS[6], "no record of a page in it"),
        (b"\r\n\r\n", "no record of a page in it"),
    ],
)
def test_files_without_a_record(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        read(tmp_path / "a.warc", data)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1500), st.binary(min_size=1, max_size=20))
def test_a_damaged_archive_is_read_or_refused(tmp_path: Path, at: int, damage: bytes) -> None:
    data = bytearray(b"".join(RECORDS[:4]))
    data[at : at + len(damage)] = damage
    with contextlib.suppress(FileError):
        read(tmp_path / "a.warc", bytes(data))
