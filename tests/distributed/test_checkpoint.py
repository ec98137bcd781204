"""Training states: whole or absent, the newest kept, and generators from keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chatwright.distributed.checkpoint import load_state, save_state, save_weights, states


def test_a_state_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 2).mT,
        "b": torch.tensor(7.0),
        "c": torch.arange(3),
        "d": torch.randn(2).bfloat16(),
    }
    path = save_state(tmp_path, 4, tensors, {"step": 4, "seconds": 0.1})
    found, rest = load_state(path)
    assert rest == {"step": 4, "seconds": 0.1}
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_the_newest_states_are_kept_in_numerical_order(tmp_path: Path) -> None:
    assert states(tmp_path / "none") == []
    for step in (8, 9, 10, 11):
        save_state(tmp_path, step, {"x": torch.zeros(1)}, {"step": step})
    assert [step for step, _ in states(tmp_path)] == [10, 11]


def test_a_half_written_state_is_never_seen_and_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / "step-3.tmp-4711"
    left.mkdir()
    (left / "tensors.safetensors").write_bytes(b"half")
    assert states(tmp_path) == []
    save_state(tmp_path, 3, {"x": torch.zeros(1)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_a_write_that_fails_leaves_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, {"w": torch.ones(2)}, {"format": "pt"})

    def refuse(*arguments: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RuntimeError):
        save_weights(path, {"w": torch.zeros(2)}, {"format": "pt"})
    assert load_file(path)["w"].tolist() == [1.0, 1.0]
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
