"""The sample is even, bounded, and the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatwright.corpora.documents import Doc
from chatwright.corpora.reporting import sample
from chatwright.corpora.store import ShardWriter


def write(folder: Path, texts: list[str]) -> None:
    for side, part in (("train", texts[:-1]), ("validation", texts[-1:])):
        with ShardWriter(folder / f"{side}-00000.parquet") as shard:
            for number, text in enumerate(part):
                shard.write(Doc(f"{side}{number}", "in", text, "en", ("code",)))


def test_a_small_corpus_is_its_own_sample(tmp_path: Path) -> None:
    write(tmp_path, ["one", "two 二", "three"])
    found = sample.sample_of(tmp_path)
    assert [doc.text for doc in found.docs] == ["one", "two 二", "three"]
    assert found.docs[0].marks == ("code",) and found.every == 1 and found.total == 3
    assert found.lengths.tolist() == [3, 5, 5] and found.languages == ["en"] * 3


def test_a_large_one_gives_every_so_many_th_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.corpora.store._GROUP_DOCUMENTS", 7)
    write(tmp_path, ["x" * 100] * 101)
    found = sample.sample_of(tmp_path, 1000)
    assert found.every == 11 and found.total == 101
    assert [doc.id for doc in found.docs] == [f"train{n}" for n in range(0, 100, 11)]
    assert len(found.lengths) == 101
    assert sample.sample_of(tmp_path, 1000).docs == found.docs


def test_of_a_long_document_its_beginning_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LONGEST", 10)
    write(tmp_path, ["y" * 1000, "z" * 1000])
    found = sample.sample_of(tmp_path, 100)
    assert [len(doc.text) for doc in found.docs] == [10, 10] and found.lengths.tolist() == [1000, 1000]


def test_of_very_many_groups_some_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.corpora.store._GROUP_DOCUMENTS", 1)
    monkeypatch.setattr(sample, "_MOST_GROUPS", 4)
    write(tmp_path, [str(n) for n in range(40)])
    found = sample.sample_of(tmp_path)
    assert [doc.text for doc in found.docs] == ["0", "10", "20", "30"] and found.total == 40
    assert sample.spread(3, 5) == [0, 1, 2]
