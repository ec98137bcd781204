"""XLNet in the public format: `transformers` and we read each other's weights and compute the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.family.xlnet import XLNET
from chatwright.models.interop.files import (
    WEIGHTS,
    EndTokens,
    empty_root,
    load_root,
    read_options,
    write_config,
)
from chatwright.models.interop.weights import public_weights
from chatwright.models.presets import model_options
from chatwright.models.root import Root
from chatwright.models.xlnet import XLNet, XLNetOptions
from helpers.weights import stirred

SHAPE = XLNetOptions(vocab_size=41, width=24, layers=3, heads=3, feed_forward=20)
SHAPES = [
    SHAPE,
    replace(SHAPE, clamp=4, memory=5),
    replace(SHAPE, heads=1, width=10, layers=1, tied=False),
]


def drawn(high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def written(directory: Path, options: XLNetOptions) -> XLNet:
    model = stirred(XLNet(options), deviation=0.3)
    write_config(directory, options, EndTokens(bos=1, eos=[2], pad=5))
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return model.eval()


def peer_of(directory: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.XLNetLMHeadModel.from_pretrained(directory).eval()


def same(mine: Tensor, theirs: Tensor) -> None:
    assert float(theirs.abs().max()) > 0.5
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", SHAPES)
def test_a_bidirectional_pass_with_types_and_padding(tmp_path: Path, options: XLNetOptions) -> None:
    model, peer = written(tmp_path, options), peer_of(tmp_path)
    inputs, types = drawn(41, 2, 13), drawn(3, 2, 13, seed=1)
    real = torch.ones(2, 13)
    real[1, 9:] = 0
    segments = torch.where(real > 0, 0, -1)
    with torch.no_grad():
        mine = model(inputs, segments=segments, types=types, outputs=("hidden", "logits"))
        theirs = peer(inputs, attention_mask=real, token_type_ids=types, output_hidden_states=True)
    kept = real > 0
    same(mine["hidden"][kept], theirs.hidden_states[-1][kept])
    same(mine["logits"][kept], theirs.logits[kept])
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters()


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize("length", [2, 11])
def test_two_streams_over_two_segments_with_memories(
    tmp_path: Path, options: XLNetOptions, length: int
) -> None:
    """Factorization orders, targets, types and padding; the second and the third segment read memories."""
    model, peer = written(tmp_path, options), peer_of(tmp_path)
    theirs, mine = None, None
    for segment in range(3):
        inputs, types = drawn(41, 2, length, seed=segment), drawn(2, 2, length, seed=9 + segment)
        order = torch.stack(
            [torch.randperm(length, generator=torch.Generator().manual_seed(n)) for n in (3, 4)]
        )
        # as many targets in every row as transformers' mapping has; the first of the order is known
        count = max(1, length // 3)
        places = order.argsort(1)[:, -count:].sort(1).values
        seen = order[:, None, :] < order[:, :, None]
        targets = torch.full_like(inputs, IGNORE).scatter(1, places, inputs.gather(1, places))
        mapping = torch.zeros(2, count, length).scatter(2, places[..., None], 1.0)
        with torch.no_grad():
            mine = model(
                inputs,
                targets=targets,
                types=types,
                permutation_mask=seen,
                memories=None if mine is None else mine["memories"],
                outputs=("query", "logits", "logprobs", "memories", "hidden"),
            )
            theirs = peer(
                inputs,
                token_type_ids=types,
                perm_mask=(~seen).float(),
                target_mapping=mapping,
                mems=None if theirs is None else theirs.mems,
                use_mems=True,
                output_hidden_states=True,
            )
        at = targets != IGNORE
        same(mine["logits"][at], theirs.logits.flatten(0, 1))
        same(mine["query"][at], theirs.hidden_states[-1].flatten(0, 1))
        same(mine["hidden"], theirs.hidden_states[-2])
        same(mine["memories"], torch.stack([memory.transpose(0, 1) for memory in theirs.mems]))
        wanted = theirs.logits.log_softmax(-1).flatten(0, 1).gather(1, targets[at][:, None])
        torch.testing.assert_close(mine["logprobs"][at], wanted.squeeze(1), rtol=1e-4, atol=1e-4)


def test_memories_without_a_mask_continue_a_text(tmp_path: Path) -> None:
    model, peer = written(tmp_path, SHAPES[1]), peer_of(tmp_path)
    first, second = drawn(41, 2, 7), drawn(41, 2, 4, seed=1)
    with torch.no_grad():
        remembered = model(first, outputs=("memories",))["memories"]
        mine = model(second, memories=remembered, outputs=("logits",))["logits"]
        theirs = peer(second, mems=peer(first, use_mems=True).mems, use_mems=True).logits
    assert remembered.size(2) == 5
    same(mine, theirs)


@pytest.mark.parametrize("options", SHAPES)
def test_weights_of_transformers_are_read(tmp_path: Path, options: XLNetOptions) -> None:
    transformers = pytest.importorskip("transformers")
    written(tmp_path, options)
    config = transformers.XLNetConfig.from_pretrained(tmp_path)
    peer = stirred(transformers.XLNetLMHeadModel(config), deviation=0.3).eval()
    peer.save_pretrained(tmp_path)
    assert read_options(tmp_path) == options
    inputs = drawn(41, 2, 6)
    with torch.no_grad():
        same(load_root(tmp_path)(inputs, outputs=("logits",))["logits"], peer(inputs).logits)


@pytest.mark.parametrize("options", SHAPES)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path, options: XLNetOptions) -> None:
    model = written(tmp_path, options)
    assert read_options(tmp_path) == options
    again = load_root(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    weights = load_file(tmp_path / WEIGHTS)
    assert ("lm_loss.weight" in weights) is not options.tied
    assert weights["transformer.layer.0.rel_attn.q"].shape == (options.width, options.heads, options.head_dim)


def test_weights_without_the_prefix_or_with_the_head_twice_are_read(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPE)
    weights = load_file(tmp_path / WEIGHTS)
    bare = {name.removeprefix("transformer."): value for name, value in weights.items()}
    save_file({**bare, "lm_loss.weight": bare["word_embedding.weight"].clone()}, tmp_path / WEIGHTS)
    assert torch.equal(load_root(tmp_path).blocks[2].attention.types, model.blocks[2].attention.types)


def test_a_misshapen_tensor_is_refused_by_its_public_shape(tmp_path: Path) -> None:
    written(tmp_path, SHAPE)
    weights = load_file(tmp_path / WEIGHTS)
    name = "transformer.layer.1.rel_attn.k"
    save_file({**weights, name: weights[name].flatten(1)}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=r"layer\.1\.rel_attn\.k is \(24, 24\), the config says \(24, 3, 8\)"):
        load_root(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attn_type", "uni"),
        ("ff_activation", "relu"),
        ("bi_data", True),
        ("same_length", True),
        ("reuse_len", 64),
        ("untie_r", False),
        ("d_head", 5),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    written(tmp_path, SHAPE)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match=f"{field}={value!r} is not supported"):
        read_options(tmp_path)


@pytest.mark.parametrize(
    ("name", "millions"), [("xlnet-base", 116.718_080), ("xlnet-large", 360.300_800), ("xlnet-5m", None)]
)
def test_presets_have_the_published_size(name: str, millions: float | None) -> None:
    model: Root = empty_root(model_options({"name": name}), "meta")
    count = sum(p.numel() for p in model.parameters())
    if millions is None:
        assert 4.5e6 < count - model.embedding.weight.numel() < 5.5e6
        return
    transformers = pytest.importorskip("transformers")
    config = transformers.XLNetConfig(**XLNET.public.config(model.options))
    with torch.device("meta"):
        peer = transformers.XLNetLMHeadModel(config)
    assert count == peer.num_parameters()
    assert round(count / 1e6) == round(millions)
