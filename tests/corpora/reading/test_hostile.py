"""A folder of hostile files with good ones among them: all good text is read, each bad file is listed with a reason."""

import random
import resource
import time
from pathlib import Path

import pytest

from chatwright.corpora.documents import Doc
from chatwright.corpora.reading.read import Limits, discover, read
from chatwright.corpora.reading.skipped import Skipped
from chatwright.errors import UserError
from helpers.hostile import HEAVY, SWIFT, good_text, write_good, write_hostile, write_links

LIMITS = Limits(seconds=1, megabytes=256)


def read_all(folder: Path) -> tuple[list[Doc], Skipped]:
    skipped = Skipped()
    return list(read(discover([folder], skipped), skipped, limits=LIMITS)), skipped


def check(found: list[Doc], skipped: Skipped, good: int, bad: list[Path]) -> None:
    assert sorted(doc.text.strip() for doc in found) == sorted(map(good_text, range(good)))
    assert len({doc.id for doc in found}) == good
    listed = {path: reason for reason, entries in skipped.files.items() for path, _ in entries}
    assert set(map(str, bad)) == set(listed)
    assert all(listed.values())


def test_hundreds_of_hostile_files(tmp_path: Path) -> None:
    bad = write_hostile(tmp_path, 230, SWIFT)
    write_good(tmp_path, 36)
    bad += write_links(tmp_path)
    found, skipped = read_all(tmp_path)
    check(found, skipped, 36, bad)
    again, skipped_again = read_all(tmp_path)
    assert (again, skipped_again.as_json()) == (found, skipped.as_json())


@pytest.mark.parametrize("name", sorted(SWIFT))
def test_each_of_them_named_is_an_error_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(SWIFT[name](random.Random(1)))
    skipped = Skipped()
    with pytest.raises(UserError) as error:
        list(read(discover([path], skipped), skipped, limits=LIMITS))
    assert str(path) in str(error.value)
    assert "; " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_thousand_hostile_files_with_the_heaviest(tmp_path: Path) -> None:
    bad = write_hostile(tmp_path / "swift", 1000 - 2 * len(HEAVY), SWIFT)
    bad += write_hostile(tmp_path / "heavy", 2 * len(HEAVY), HEAVY)
    write_good(tmp_path, 240)
    bad += write_links(tmp_path)
    start = time.monotonic()
    found, skipped = read_all(tmp_path)
    check(found, skipped, 240, bad)
    assert time.monotonic() - start < 600
    for path in bad:
        path.unlink(missing_ok=True)
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    assert most < 3 << 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line.txt", "line.jsonl", "line.json", "line.md", "line.csv", "line.html"])
def test_a_gigabyte_in_one_line(tmp_path: Path, name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = b"some words in a line that never ends, " * (1 << 15)
    with (tmp_path / name).open("wb") as file:
        for _ in range((1 << 30) // len(block)):
            file.write(block)
    with (tmp_path / f"holes-{name}").open("wb") as file:
        file.truncate(1 << 30)
    write_good(tmp_path, 12)
    skipped = Skipped()
    good = characters = 0
    for doc in read(discover([tmp_path], skipped), skipped, limits=LIMITS):
        good += "good-" in doc.id
        characters += len(doc.text) if "good-" not in doc.id else 0
    (tmp_path / name).unlink()
    assert good == 12
    listed = {Path(path).name for entries in skipped.files.values() for path, _ in entries}
    assert f"holes-{name}" in listed
    if name in ("line.txt", "line.md"):
        assert characters > 1_000_000_000
    else:
        assert name in listed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20
