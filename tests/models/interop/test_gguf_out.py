"""Models written as GGUF and read again: the same weights, the same logits, types within their bounds."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.interop import gguf_out
from chatwright.models.interop.gguf_in import read_gguf
from chatwright.models.interop.gguf_out import KINDS, write_gguf
from chatwright.models.interop.layout import Layout
from helpers.foreign import CASES, outputs, random_layout


@pytest.fixture
def llama(tmp_path: Path) -> Layout:
    return random_layout("llama", tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_round_trip_keeps_every_weight_and_every_logit(tmp_path: Path, case: str) -> None:
    layout = random_layout(case, tmp_path)
    written = write_gguf(layout, tmp_path / "m.gguf", "f32")
    again = read_gguf(tmp_path / "m.gguf")
    expected = {name: w for name, w in layout.weights.items() if name not in written.dropped}
    assert set(again.weights) == set(expected)
    for name, weight in expected.items():
        assert torch.equal(again.weights[name], weight), name
        assert again.weights.shape(name) == tuple(weight.shape)  # type: ignore[attr-defined]
    before, after = outputs(layout, tmp_path / "before"), outputs(again, tmp_path / "after")
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert not written.wider and written.size == (tmp_path / "m.gguf").stat().st_size


@pytest.mark.parametrize("case", ["llama", "llama-odd", "qwen2", "qwen3", "gpt2"])
def test_the_peer_reads_the_same_model(tmp_path: Path, case: str) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    layout = random_layout(case, tmp_path)
    write_gguf(layout, tmp_path / "m.gguf", "f32")
    with torch.device("meta"):
        kind = getattr(transformers, layout.config["architectures"][0])
        model = kind(transformers.AutoConfig.from_pretrained(tmp_path))
    peer = load_gguf_checkpoint(tmp_path / "m.gguf", return_tensors=True, model_to_load=model)
    assert set(peer["tensors"]) == set(layout.weights)
    for name, weight in layout.weights.items():
        assert torch.equal(peer["tensors"][name], weight), name
    ours = read_gguf(tmp_path / "m.gguf").config
    shared = (peer["config"].keys() & ours.keys()) - {"architectures", "dtype", "n_inner"}
    assert len(shared) > 5
    for key in shared:
        assert ours[key] == pytest.approx(peer["config"][key]), key


def bound(weight: Tensor, kind: str) -> Tensor:
    """The largest error that a type may make: half a step of its block, and the rounding of its scale."""
    if kind in ("bf16", "f16"):
        return weight.abs() * 2.0 ** (-8 if kind == "bf16" else -11) + 1e-7
    steps = {"q8_0": 127, "q4_0": 8}[kind]
    largest = weight.unflatten(-1, (-1, 32)).abs().amax(-1).repeat_interleave(32, -1)
    # the largest weight of the other sign lies a step past what q4_0 can say
    return largest / steps * (0.501 if kind == "q8_0" else 1.001) + largest * 2.0**-11


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_type_stays_within_its_bound(tmp_path: Path, llama: Layout, kind: str) -> None:
    written = write_gguf(llama, tmp_path / "m.gguf", kind)
    again = read_gguf(tmp_path / "m.gguf")
    for name, weight in llama.weights.items():
        found = again.weights[name]
        if weight.dim() == 1 or kind == "f32":
            assert torch.equal(found, weight)
        else:
            assert ((found - weight).abs() <= bound(weight, kind)).all(), name
            assert not torch.equal(found, weight)
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert types["blk.0.attn_q.weight"] == types["token_embd.weight"] == kind.upper()
    assert types["output_norm.weight"] == "F32" and not written.wider


def test_rows_that_are_no_blocks_are_wider_and_told(tmp_path: Path) -> None:
    layout = random_layout("llama-odd", tmp_path)
    written = write_gguf(layout, tmp_path / "m.gguf", "q4_0")
    assert "token_embd.weight" in written.wider and "blk.1.attn_output.weight" in written.wider
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert types["blk.0.ffn_down.weight"] == "Q4_0"
    assert {name for name, kind in types.items() if kind == "F16"} == set(written.wider)


def test_what_routes_and_what_is_added_stays_f32(tmp_path: Path) -> None:
    for case, name in (("qwen3-moe", "blk.0.ffn_gate_inp.weight"), ("gpt2", "position_embd.weight")):
        write_gguf(random_layout(case, tmp_path), tmp_path / "m.gguf", "q8_0")
        types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
        assert types[name] == "F32" and "Q8_0" in types.values()


def test_an_encoder_without_its_prefix_and_its_pooler_are_told(tmp_path: Path) -> None:
    layout = random_layout("bert", tmp_path)
    assert write_gguf(layout, tmp_path / "m.gguf").dropped == ("pooler.dense.bias", "pooler.dense.weight")
    prefixed = {f"bert.{name}": weight for name, weight in layout.weights.items()}
    assert len(write_gguf(replace(layout, weights=prefixed), tmp_path / "n.gguf").dropped) == 2
    assert (tmp_path / "m.gguf").read_bytes() == (tmp_path / "n.gguf").read_bytes()


def test_gpt2_as_first_published_lacks_a_prefix(tmp_path: Path) -> None:
    layout = random_layout("gpt2", tmp_path)
    write_gguf(layout, tmp_path / "m.gguf")
    bare = {name.removeprefix("transformer."): weight for name, weight in layout.weights.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    written = write_gguf(replace(layout, weights=bare), tmp_path / "n.gguf")
    assert written.dropped == ("h.0.attn.bias",)
    assert (tmp_path / "m.gguf").read_bytes() == (tmp_path / "n.gguf").read_bytes()


NORM, EMBEDDING = "model.norm.weight", "model.embed_tokens.weight"
ODD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an unknown architecture": (
        {"model_type": "mamba"},
        {},
        "'mamba' has no place in GGUF; supported are llama",
    ),
    "an activation": ({"hidden_act": "relu"}, {}, "hidden_act='relu'"),
    "a window": ({"layer_types": ["sliding_attention"]}, {}, "layer_types"),
    "no size": ({"hidden_size": None}, {}, "hidden_size"),
    "a size that is text": ({"num_hidden_layers": "2"}, {}, "num_hidden_layers is '2'"),
    "more blocks": ({"num_hidden_layers": 1 << 30}, {}, "lacks the weight model.layers.2."),
    "fewer blocks": ({"num_hidden_layers": 1}, {}, "has the weight model.layers.1."),
    "a missing weight": ({}, {NORM: None}, "lacks the weight model.norm.weight"),
    "a reward head": (
        {},
        {"score.weight": torch.ones(1, 32)},
        "score.weight, which GGUF's llama has no place",
    ),
    "a shape": ({}, {NORM: torch.ones(31)}, r"model.norm.weight is \(31,\); its config.json says \(32,\)"),
    "no number": ({}, {EMBEDDING: torch.full((40, 32), torch.nan)}, "no finite numbers"),
    "too large": ({}, {EMBEDDING: torch.full((40, 32), 7e4)}, "up to 70000; F16 cannot hold them"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_has_no_place_is_named_and_nothing_is_written(tmp_path: Path, llama: Layout, name: str) -> None:
    said, changed, message = ODD[name]
    weights = {key: w for key, w in {**llama.weights, **changed}.items() if w is not None}
    target = tmp_path / "out" / "m.gguf"
    with pytest.raises(UserError, match=message) as caught:
        write_gguf(Layout({**llama.config, **said}, weights), target)
    assert "\n" not in str(caught.value)
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_an_unknown_type_is_refused(tmp_path: Path, llama: Layout) -> None:
    with pytest.raises(UserError, match=r"'q8'.*did you mean 'q8_0'"):
        write_gguf(llama, tmp_path / "m.gguf", "q8")


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, llama: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.gguf"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(gguf_out, "_append", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_gguf(llama, target)
    assert target.read_bytes() == b"old" and not list(tmp_path.glob("*.tmp-*"))
