import json
import os
import sys
import types
from pathlib import Path

import pytest

from chatwright.corpora.reading import hub
from chatwright.corpora.reading.read import discover, read
from chatwright.corpora.reading.skipped import Skipped
from chatwright.errors import UserError
from helpers.hostile import parquet


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache of this machine, no network."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "MODELSCOPE_CACHE", "CHATWRIGHT_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MODELSCOPE_OFFLINE", "1")


def fill(root: Path, *names: str, card: str = "") -> Path:
    """Data files that each say their own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"this is {name}"
        if name.endswith(".parquet"):
            path.write_bytes(parquet([text]))
        else:
            path.write_text(json.dumps({"text": text}) + "\n" if "json" in name else text)
    if card:
        (root / "README.md").write_text(f"---\n{card}\n---\n# A card\n")
    return root


def texts(name: str, mirror: Path | None = None) -> list[str]:
    skipped = Skipped()
    found = [doc.text.removeprefix("this is ") for doc in read(discover([name], skipped, mirror), skipped)]
    assert not skipped
    return found


def test_the_cache_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "hf" / "hub" / "datasets--owner--name"
    fill(folder / "snapshots" / "old", "data/train-0.parquet")
    blob = fill(folder / "blobs", "x.parquet") / "x.parquet"
    new = folder / "snapshots" / "new" / "data"
    new.mkdir(parents=True)
    (new / "train-00000-of-00001.parquet").symlink_to(os.path.relpath(blob, new))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("new")
    os.utime(folder / "snapshots" / "old", (9e9, 9e9))
    (found,) = discover(["hf:owner/name"], Skipped())
    assert found.name == "hf:owner/name/data/train-00000-of-00001.parquet"
    assert not found.named
    assert found.size > 100
    (document,) = read([found], Skipped())
    assert (document.id, document.source, document.text) == (
        f"{found.name}:1",
        "hf:owner/name",
        "this is x.parquet",
    )
    (folder / "refs" / "main").write_text("gone")
    assert texts("hf:owner/name") == ["data/train-0.parquet"]


@pytest.mark.parametrize(
    "place", ["hub/datasets/owner/name", "datasets/owner/name", "hub/owner/name", "owner/name"]
)
def test_the_cache_of_modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    fill(tmp_path / "ms" / place, "train.jsonl", "dataset_infos.json")
    assert texts("modelscope:owner/name") == ["train.jsonl"]


def test_the_usual_places(tmp_path: Path) -> None:
    fill(tmp_path / "cache" / "huggingface" / "hub" / "datasets--name" / "snapshots" / "1", "a.jsonl")
    fill(tmp_path / "cache" / "modelscope" / "hub" / "datasets" / "owner" / "v1___5", "b.jsonl")
    assert texts("hf:name") == ["a.jsonl"]
    assert texts("modelscope:owner/v1.5") == ["b.jsonl"]


@pytest.mark.parametrize(
    "place",
    ["owner/name", "owner--name", "owner__name", "name", "datasets/owner/name", "datasets--owner--name"],
)
def test_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    fill(tmp_path / "mirror" / place, "a.jsonl")
    assert texts("hf:owner/name", tmp_path / "mirror") == ["a.jsonl"]
    monkeypatch.setenv("CHATWRIGHT_MIRROR", str(tmp_path / "mirror"))
    assert texts("modelscope:owner/name") == ["a.jsonl"]


FILES = ["train-0.jsonl", "train-1.jsonl", "data/validation.jsonl", "test/part.jsonl", "extra.jsonl"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:o/n", ["train-0.jsonl", "train-1.jsonl"]),
        ("hf:o/n@train", ["train-0.jsonl", "train-1.jsonl"]),
        ("hf:o/n@dev", ["data/validation.jsonl"]),
        ("hf:o/n@test", ["test/part.jsonl"]),
        ("hf:o/n@all", sorted(FILES)),
        ("hf:o/n:data@validation", ["data/validation.jsonl"]),
    ],
)
def test_splits_by_name(tmp_path: Path, name: str, expected: list[str]) -> None:
    fill(tmp_path / "o" / "n", *FILES)
    assert sorted(texts(name, tmp_path)) == sorted(expected)


def test_data_that_is_not_split_is_read_whole(tmp_path: Path) -> None:
    fill(tmp_path / "o" / "n", "a.jsonl", "latest/contest.jsonl", "restrain.jsonl")
    assert len(texts("hf:o/n", tmp_path)) == 3


def test_what_has_no_training_split_says_what_it_has(tmp_path: Path) -> None:
    fill(tmp_path / "o" / "n", "test.jsonl", "validation.jsonl")
    with pytest.raises(
        UserError, match="hf:o/n: it has no split 'train' but test, validation; say which after @"
    ):
        texts("hf:o/n", tmp_path)


CARD = """
configs:
- config_name: en
  data_files:
  - split: train
    path: "text/en-*.jsonl"
  - split: hard
    path: ["text/hard.jsonl", "../escape.jsonl", "/etc/*.txt"]
- config_name: zh
  data_files: "text/zh-?.jsonl"
- config_name: both
  data_files: {train: ["text/en-0.jsonl", "text/zh-0.jsonl"], test: "text/hard.jsonl"}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:o/n:en", ["text/en-0.jsonl", "text/en-1.jsonl"]),
        ("hf:o/n:en@hard", ["text/hard.jsonl"]),
        ("hf:o/n:zh", ["text/zh-0.jsonl"]),
        ("hf:o/n:both@test", ["text/hard.jsonl"]),
        ("hf:o/n:both@all", ["text/en-0.jsonl", "text/zh-0.jsonl", "text/hard.jsonl"]),
    ],
)
def test_configurations_of_the_card(tmp_path: Path, name: str, expected: list[str]) -> None:
    names = ["text/en-0.jsonl", "text/en-1.jsonl", "text/zh-0.jsonl", "text/hard.jsonl", "other.jsonl"]
    fill(tmp_path / "o" / "n", *names, card=CARD)
    fill(tmp_path / "o", "escape.jsonl")
    assert texts(name, tmp_path) == expected


def test_which_configuration_is_asked_or_said(tmp_path: Path) -> None:
    root = fill(tmp_path / "o" / "n", "text/en-0.jsonl", "text/zh-0.jsonl", card=CARD)
    with pytest.raises(UserError, match="it has the configurations en, zh, both; say which: hf:o/n:en"):
        texts("hf:o/n", tmp_path)
    with pytest.raises(UserError, match="no configuration 'eng'; did you mean 'en'"):
        texts("hf:o/n:eng", tmp_path)
    fill(root, card=CARD.replace("config_name: zh\n", "config_name: zh\n  default: true\n"))
    assert texts("hf:o/n", tmp_path) == ["text/zh-0.jsonl"]


@pytest.mark.parametrize(
    "card", ["not: [yaml", "configs: 3", "configs: [3, {}]", "- a list", "configs:\n- data_files: null"]
)
def test_cards_that_say_nothing(tmp_path: Path, card: str) -> None:
    fill(tmp_path / "o" / "n", "a.jsonl", card=card)
    assert texts("hf:o/n", tmp_path) == ["a.jsonl"]


def test_the_same_rows_in_two_formats_are_read_once(tmp_path: Path) -> None:
    fill(tmp_path / "o" / "n", "train-0.parquet", "train-1.parquet", "train.jsonl", "notes.txt")
    assert texts("hf:o/n", tmp_path) == ["train-0.parquet", "train-1.parquet"]
    fill(tmp_path / "o" / "m", "train.parquet", "train.jsonl")
    assert texts("hf:o/m", tmp_path) == ["train.parquet"]


@pytest.mark.parametrize("name", ["hf:a/b/c", "hf:a b", "hf:a@", "hf:a/b:", "modelscope:a/b@c@d"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match=r"write it as (hf|modelscope):owner/name"):
        discover([name], Skipped())


def test_what_is_nowhere_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    said = r"hf:o/n: not on this machine \(looked in .*/mirror, .*/cache/huggingface/hub\) and not to be fetched "
    with pytest.raises(
        UserError, match=said + r"\(HF_HUB_OFFLINE forbids it\); give the folder .* mirror=FOLDER"
    ) as error:
        discover(["hf:o/n"], Skipped(), tmp_path / "mirror")
    assert "\n" not in str(error.value)
    monkeypatch.delenv("MODELSCOPE_OFFLINE")
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(UserError, match="the package modelscope is not installed"):
        discover(["modelscope:o/n"], Skipped())


def test_what_is_nowhere_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "fetched", "a.jsonl")
    asked: list[object] = []
    fake = types.ModuleType("huggingface_hub")
    fake.snapshot_download = lambda id_, **options: asked.append((id_, options["repo_type"])) or str(root)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert texts("hf:o/n") == ["a.jsonl"]
    assert asked == [("o/n", "dataset")]

    def fail(id_: str, **options: object) -> str:
        raise ConnectionError("no route\nto host")

    fake.snapshot_download = fail  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"not to be fetched \(ConnectionError: no route to host\)"):
        discover(["hf:o/n"], Skipped())


def test_modelscope_is_asked_by_its_own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("modelscope.hub.snapshot_download")
    fake.dataset_snapshot_download = lambda id_: f"/there/{id_}"  # type: ignore[attr-defined]
    for name, module in (("modelscope", types.ModuleType("m")), ("modelscope.hub", types.ModuleType("h"))):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    assert hub.MODELSCOPE.fetch("o/n") == "/there/o/n"
