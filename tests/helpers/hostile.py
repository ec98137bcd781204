"""A folder of files that hold up, blow up or mislead readers, and good ones among them."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

GOOD = "Every good file says something of its own, number {}. 每个好文件都说一句自己的话，第 {} 号。\n"
PAGE = "<html><body><main><h1>Page {0}</h1><p>" + GOOD.replace("{}", "{0}") + "</p></main></body></html>"

Maker = Callable[[random.Random], bytes]


def good_text(number: int) -> str:
    """What the good file of this number says."""
    return GOOD.format(number, number).strip()


def write_good(folder: Path, count: int) -> None:
    """`count` good files of every kind, each with its own text."""
    for number in range(count):
        kind = GOOD_KINDS[number % len(GOOD_KINDS)]
        name, data = kind(number, good_text(number))
        path = folder / f"nest{number % 7}" / "deep" / f"good-{number}{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def record(text: str, type_: str = "text/html", address: str = "http://a.example/") -> bytes:
    """A WARC record of a response."""
    page = text.encode()
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {type_}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page
    return warc_record(http, "response", "application/http; msgtype=response", address)


def warc_record(content: bytes, kind: str, type_: str, address: str = "http://a.example/") -> bytes:
    """A WARC record of any kind."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:0>\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        f"WARC-Target-URI: {address}\r\nContent-Type: {type_}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n\r\n"


def parquet(texts: list[str], **options: object) -> bytes:
    """A Parquet file with one column `text`."""
    out = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), out, **options)
    return out.getvalue()


def pdf(content: bytes, pages: int = 1, tail: bytes = b"") -> bytes:
    """A PDF whose pages all show the same content stream."""
    kids = b" ".join(b"%d 0 R" % (10 + page) for page in range(pages))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [" + kids + b"] /Count %d >>" % pages,
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        4: b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream",
    }
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> >>"
    objects.update({10 + number: page for number in range(pages)})
    return assembled(objects) + tail


def assembled(objects: dict[int, bytes]) -> bytes:
    """A PDF of numbered objects, with its table of places; object 1 is the catalogue."""
    out = bytearray(b"%PDF-1.4\n")
    places = {}
    for number, content in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    out += b"trailer\n<< /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, start)
    return bytes(out)


def shown(text: str) -> bytes:
    """The content stream of a page that shows lines of plain text."""
    lines = b" T* ".join(b"(" + line.encode("latin-1", "replace") + b") Tj" for line in text.split("\n"))
    return b"BT /F1 12 Tf 14 TL 50 750 Td " + lines + b" ET"


GOOD_KINDS: list[Callable[[int, str], tuple[str, bytes]]] = [
    lambda n, text: (".txt", text.encode()),
    lambda n, text: (".md", text.encode("utf-8-sig")),
    lambda n, text: (".txt.gz", gzip.compress(text.encode())),
    lambda n, text: (".txt.zst", zstandard.compress(text.encode())),
    lambda n, text: (".gb.txt", text.encode("gb18030")),
    lambda n, text: (".utf16.txt", text.encode("utf-16")),
    lambda n, text: (".jsonl", json.dumps({"text": text}).encode() + b"\n"),
    lambda n, text: (".json", json.dumps([{"text": text}]).encode()),
    lambda n, text: (".csv", f'id,text\n{n},"{text}"\n'.encode()),
    lambda n, text: (".parquet", parquet([text])),
    lambda n, text: (".html", f"<html><body><main><p>{text}</p></main></body></html>".encode()),
    lambda n, text: (".warc.gz", gzip.compress(record(f"<p>{text}</p>"))),
]


def zeros(size: int) -> bytes:
    """Zstandard and gzip bombs are made of these."""
    return bytes(size)


def _gzip_bomb(rng: random.Random) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b"all work and no play makes a dull text\n"[: rng.randrange(20, 39)] * 30_000
    return b"".join(packer.compress(block) for _ in range(150)) + packer.flush()


def _zstd_bomb(rng: random.Random) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(packer.compress(b"x" * (1 << 22)) for _ in range(60)) + packer.flush()


def _zip_bomb(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", b" " * (1 << 24))
    return out.getvalue()


def _half(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) // 3, len(data) - 10)]


def _noise(rng: random.Random, size: int = 3000) -> bytes:
    return rng.randbytes(size)


def _broken_utf8(rng: random.Random) -> bytes:
    text = ("中文与 words " * 50).encode()
    at = rng.randrange(20, len(text) - 20)
    return text[:at] + b"\xff\xfe\xc0\xc1\xf8" + text[at:]


def _self_calling_form(rng: random.Random) -> bytes:
    """A form that draws itself, in a page that draws it."""
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >> >>"
    form = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R /Y 5 0 R >> >> "
        b"/Length 11 >>\nstream\n/X Do /Y Do\nendstream"
    )
    return assembled(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: page,
            4: b"<< /Length 5 >>\nstream\n/X Do\nendstream",
            5: form,
        }
    )


def _looping_pages(rng: random.Random) -> bytes:
    """A tree of pages that is its own child."""
    return assembled(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 99999999 >>",
            3: b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 99999999 /Parent 2 0 R >>",
        }
    )


def _flate_bomb(rng: random.Random) -> bytes:
    content = zlib.compress(zlib.compress(bytes(1 << 28), 9), 9)
    return assembled(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] >>",
            4: b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n" % len(content)
            + content
            + b"\nendstream",
        }
    )


def _dictionary_bomb(rng: random.Random) -> bytes:
    """A megabyte of text, and two hundred thousand rows that all point to it."""
    word = "".join(rng.choices("abcdefgh ", k=1 << 20))
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array([word]))
    out = io.BytesIO()
    pq.write_table(pa.table({"text": column}), out, store_schema=False)
    return out.getvalue()


SWIFT: dict[str, Maker] = {
    "half.txt.gz": lambda rng: _half(gzip.compress(_noise(rng)), rng)[:9],
    "no.txt.gz": lambda rng: _noise(rng),
    "no.txt.zst": lambda rng: _noise(rng),
    "half.parquet": lambda rng: _half(parquet([str(n) for n in range(500)]), rng),
    "no.parquet": lambda rng: b"PAR1" + _noise(rng) + b"PAR1",
    "broken.json": lambda rng: b'[{"text": ' + _noise(rng, 50).replace(b'"', b"") + b"]",
    "broken.jsonl": lambda rng: b"{{{{\n" * rng.randrange(1, 50),
    "deep.json": lambda rng: b'{"text": ' + b"[" * 200_000,
    "deep.jsonl": lambda rng: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "utf8.txt": _broken_utf8,
    "zeros.txt": lambda rng: b"text" + bytes(rng.randrange(1, 5000)) + b"text",
    "binary.txt": lambda rng: b"\x89PNG\r\n\x1a\n\0\0" + _noise(rng),
    "empty.txt": lambda rng: b"",
    "names.csv": lambda rng: b"name,number\nx,1\n",
    "archive.zip": _zip_bomb,
    "image.png": lambda rng: _noise(rng),
    "no.pdf": lambda rng: _noise(rng),
    "half.pdf": lambda rng: b"%PDF-1.4\n" + _noise(rng),
    "loop.pdf": _looping_pages,
    "no.warc": lambda rng: _noise(rng),
    "half.warc.gz": lambda rng: gzip.compress(record("<p>half of a page"))[:60],
    "empty.html": lambda rng: b"<html><head><title>nothing</title></head></html>",
    "noise.html": lambda rng: b"<p>" + bytes(rng.choices(range(128, 256), k=2000)),
}
"""Files that are refused in no time, by the ends of their names. `rng` makes each its own."""

HEAVY: dict[str, Maker] = {
    "bomb.txt.gz": _gzip_bomb,
    "bomb.txt.zst": _zstd_bomb,
    "bomb.jsonl.zst": _zstd_bomb,
    "bomb.html.zst": _zstd_bomb,
    "deep.html": lambda rng: b"<div>" * 60_000 + b"x",
    "form.pdf": _self_calling_form,
    "flate.pdf": _flate_bomb,
    "dictionary.parquet": _dictionary_bomb,
    "endless.html": lambda rng: b"<p><b>x" * 6_000_000,
    "line.jsonl": lambda rng: b'{"text": "' + b"x" * (70 << 20),
    "dense.jsonl": lambda rng: b'{"text": [' + b"[]," * 8_000_000 + b"1]}\n",
    "dense.json": lambda rng: b'[{"text": [' + b"[]," * 20_000_000 + b"1]}]",
}
"""Files that take time or memory until a limit ends them."""


def write_hostile(folder: Path, count: int, makers: dict[str, Maker]) -> list[Path]:
    """`count` hostile files, in turn of every kind, spread over folders; their paths."""
    return list(_hostile(folder, count, makers))


def _hostile(folder: Path, count: int, makers: dict[str, Maker]) -> Iterator[Path]:
    kinds = list(makers.items())
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        path = folder / f"nest{number % 11}" / f"bad-{number}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(random.Random(number)))
        yield path


def write_links(folder: Path) -> list[Path]:
    """Links that loop, break or lead out and back, and a pipe; the paths that should be listed."""
    (folder / "round").mkdir()
    (folder / "round" / "back").symlink_to(folder)
    (folder / "self.txt").symlink_to(folder / "self.txt")
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    os.mkfifo(folder / "pipe.txt")
    return [folder / name for name in ("round/back", "self.txt", "one", "two", "gone.txt", "pipe.txt")]
