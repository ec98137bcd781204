"""A model's directory of the ecosystem: whole or in shards, new or old, and what is refused in it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from chatwright.errors import UserError
from chatwright.models.interop.directory import read_directory

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}


def model_directory(place: Path, **config: Any) -> Path:
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return place


def sharded(place: Path, **changes: str) -> Path:
    save_file({"a": WEIGHTS["a"]}, place / "model-1.safetensors")
    save_file({"b": WEIGHTS["b"]}, place / "model-2.safetensors")
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors", **changes}
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return place


def same(found: Any) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in found)


def test_whole_and_sharded_weights_are_the_same(tmp_path: Path) -> None:
    whole = model_directory(tmp_path / "whole")
    save_file(WEIGHTS, whole / "model.safetensors")
    assert same(read_directory(whole).weights)
    assert same(read_directory(sharded(model_directory(tmp_path / "sharded"))).weights)


def test_old_weights_are_read_as_tensors(tmp_path: Path) -> None:
    old = model_directory(tmp_path / "old")
    torch.save(WEIGHTS, old / "pytorch_model.bin")
    assert same(read_directory(old).weights)


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was-run"),))


@pytest.mark.parametrize("hostile", [{"a": Command()}, Command(), ["a"], {"a": "text"}])
def test_code_in_old_weights_is_not_run(
    tmp_path: Path, hostile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = model_directory(tmp_path / "old")
    torch.save(hostile, old / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        read_directory(old)
    (old / "pytorch_model.bin").write_bytes(pickle.dumps(hostile))
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        read_directory(old)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": "model-3.safetensors"}, "names model-3.safetensors, which is not there"),
        ({"b": "model-1.safetensors"}, "model-1.safetensors does not match .*: b is missing"),
        ({"b": "../model-2.safetensors"}, "which is not a file beside it"),
        ({"c": "model-2.safetensors"}, "model-2.safetensors does not match .*: c is missing"),
    ],
)
def test_shards_that_do_not_match_their_index_are_refused(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read_directory(sharded(model_directory(tmp_path / "m"), **changes))


def test_a_tensor_that_the_index_does_not_name_is_refused(tmp_path: Path) -> None:
    place = sharded(model_directory(tmp_path / "m"))
    save_file(WEIGHTS, place / "model-2.safetensors")
    with pytest.raises(UserError, match=r"model-2.safetensors does not match .*: a is not in the index"):
        read_directory(place)


@pytest.mark.parametrize("size", [0, 5, 40, 100])
def test_truncated_weights_are_refused(tmp_path: Path, size: int) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        place = model_directory(tmp_path / name)
        if name.endswith("bin"):
            torch.save(WEIGHTS, place / name)
        else:
            save_file(WEIGHTS, place / name)
        (place / name).write_bytes((place / name).read_bytes()[:size])
        with pytest.raises(UserError, match=name):
            read_directory(place)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json in .*not a model's directory"):
        read_directory(tmp_path)
    with pytest.raises(UserError, match="there are no weights in"):
        read_directory(model_directory(tmp_path / "m"))
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="holds list, not an object"):
        read_directory(tmp_path)


def test_the_ends_of_generation_are_the_model_s(tmp_path: Path) -> None:
    place = model_directory(tmp_path / "m", eos_token_id=1, bos_token_id=0)
    (place / "generation_config.json").write_text('{"eos_token_id": [2, 3], "pad_token_id": null}')
    save_file(WEIGHTS, place / "model.safetensors")
    config = read_directory(place).config
    assert (config["eos_token_id"], config["bos_token_id"]) == ([2, 3], 0)
    assert "pad_token_id" not in config
