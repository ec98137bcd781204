"""A disk that is full: one line with the mend, nothing half-written, and the same command goes on later."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command import chatwright
from helpers.journey import PRETRAIN, Journey, words
from helpers.texts import write_texts

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no tmpfs here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place: Path, leave: int) -> Path:
    """Fill the disk but for `leave` bytes."""
    ballast = place / "ballast"
    free = os.statvfs(place)
    ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return ballast


def assert_said(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "the disk is full; free some space and run the same command again" in done.stderr


@pytest.mark.parametrize("leave", [0, 8192, 20_000])
def test_no_room_for_a_corpus(small_disk: Path, tmp_path: Path, leave: int) -> None:
    texts, out = write_texts(tmp_path / "texts", documents=1000), small_disk / "corpus"
    ballast = fill(small_disk, leave)
    assert_said(chatwright("corpus", texts, "-o", out))
    assert not list(small_disk.rglob("*.tmp*"))
    assert not (out / "text").exists()
    ballast.unlink()
    assert chatwright("corpus", texts, "-o", out).returncode == 0


@pytest.mark.parametrize("leave", [100_000, 300_000, 700_000, 1_000_000])
def test_no_room_for_weights(small_disk: Path, journey: Journey, leave: int) -> None:
    """At the tokenizer's files, at the first state, at the weights, at a later state."""
    out = small_disk / "base"
    command = [
        "pretrain",
        journey.corpus,
        journey.tokenizer,
        "-o",
        out,
        *words(PRETRAIN, steps=6, save_every=1),
    ]
    ballast = fill(small_disk, leave)
    assert_said(chatwright(*command))
    assert not list(small_disk.rglob("*.tmp*"))
    ballast.unlink()
    done = chatwright(*command)
    assert done.returncode == 0, done.stderr
