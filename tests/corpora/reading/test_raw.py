import gzip
import os
import pickle
from pathlib import Path

import pytest
import zstandard

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading.raw import FileError, chunks, kind
from chatwright.corpora.reading.skipped import Skipped

TEXT = "line of text, 一行字\n" * 5000


def read_all(path: Path, skipped: Tally | None = None) -> bytes:
    return b"".join(chunks(path, Tally() if skipped is None else skipped))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", (".txt", "")),
        ("a.b.JSONL.GZ", (".jsonl", ".gz")),
        ("a.zst", ("", ".zst")),
        ("README", ("", "")),
        (".hidden", ("", "")),
        ("x.parquet", (".parquet", "")),
    ],
)
def test_kind_is_read_from_the_name(name: str, expected: tuple[str, str]) -> None:
    assert kind(Path(name)) == expected


def compress(data: bytes, extension: str) -> bytes:
    if extension == ".gz":
        return gzip.compress(data)
    return zstandard.compress(data)


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_compressed_files_of_several_members_read_whole(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.txt{extension}"
    half = len(TEXT) // 2
    path.write_bytes(compress(TEXT[:half].encode(), extension) + compress(TEXT[half:].encode(), extension))
    skipped = Tally()
    assert read_all(path, skipped).decode() == TEXT
    assert not skipped


def test_zero_padding_after_gzip_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode()) + b"\0" * 100_000)
    skipped = Tally()
    assert read_all(path, skipped).decode() == TEXT
    assert not skipped


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_half_written_file_gives_what_is_there_and_is_counted(tmp_path: Path, extension: str) -> None:
    import random

    lines = "".join(f"{random.Random(i).getrandbits(64):x}\n" for i in range(60_000)).encode()
    path = tmp_path / f"a.txt{extension}"
    whole = compress(lines, extension)
    path.write_bytes(whole[: len(whole) // 2])
    skipped = Tally()
    data = read_all(path, skipped)
    assert lines.startswith(data)
    assert len(data) > len(lines) // 4
    assert skipped == {"half-written file": 1}
    assert skipped.places["half-written file"] == str(path)


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_a_file_that_is_not_compressed_at_all(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.txt{extension}"
    path.write_bytes(b"plain text")
    with pytest.raises(FileError, match=r"a\.txt\.(gz|zst): not a \.(gz|zst) file"):
        read_all(path)


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_decompression_stays_in_small_chunks(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.txt{extension}"
    path.write_bytes(compress(b" " * (60 << 20), extension))
    sizes = [len(chunk) for chunk in chunks(path, Tally())]
    assert sum(sizes) == 60 << 20
    assert max(sizes) <= 70 << 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "gb18030"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"\ufeff{TEXT}".encode(encoding))
    assert read_all(path).decode() == TEXT


def test_half_written_utf16_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffab".encode("utf-16-le")[:-1])
    skipped = Tally()
    assert read_all(path, skipped) == b"a"
    assert skipped == {"half-written file": 1}


def test_progress_counts_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    seen: list[int] = []
    list(chunks(path, Tally(), seen.append))
    assert sum(seen) == path.stat().st_size


def test_missing_empty_and_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="no such file; check the path"):
        read_all(tmp_path / "none.txt")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(FileError, match="empty file"):
        read_all(tmp_path / "empty.txt")
    with pytest.raises(FileError, match="is a folder"):
        read_all(tmp_path)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileError, match="no permission"):
        read_all(tmp_path / "empty.txt")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(FileError, match="not a regular file"):
        read_all(tmp_path / "pipe.txt")


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_a_bomb_is_refused_soon_and_dense_text_is_not(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.txt{extension}"
    path.write_bytes(compress(b"x" * (70 << 20), extension))
    given = 0
    with pytest.raises(FileError, match="decompression bomb; it unpacks to more than 250 times"):
        for chunk in chunks(path, Tally()):
            given += len(chunk)
    assert given <= 64 << 20
    line = "".join(chr(33 + i * i % 90) for i in range(1000)).encode() + b"\n"
    path.write_bytes(compress(line * (70 << 10), extension))
    sizes = (
        [len(chunk) for chunk in chunks(path, Tally())] if extension == ".gz" else [len(line) * (70 << 10)]
    )
    assert sum(sizes) == len(line) * (70 << 10)


def test_files_cut_short_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode())[:-20])
    skipped = Skipped()
    list(chunks(path, skipped))
    assert skipped.files == {"half-written file": [(str(path), "")]}


def test_refusals_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(FileError(Path("a.txt"), "empty file", "leave it out")))
    assert (str(error), error.path, error.reason) == (
        "a.txt: empty file; leave it out",
        Path("a.txt"),
        "empty file",
    )
