"""GPT-2 is the public one: logits, weights in and out, generation; its sizes are the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chatwright.errors import UserError
from chatwright.models.family.gpt2 import Gpt2Options
from chatwright.models.interop.files import WEIGHTS, load_model, read_config
from chatwright.models.presets import model_options
from helpers.parity import assert_agree, assert_reads, assert_writes_alike, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    Gpt2Options(vocab_size=70, width=32, layers=3, heads=4, context=40),
    Gpt2Options(vocab_size=51, width=42, layers=2, heads=6, feed_forward=70, context=64, tied=False),
    Gpt2Options(vocab_size=33, width=15, layers=1, heads=3, context=33, norm_eps=1e-3),
]


@pytest.mark.parametrize("options", SHAPES)
def test_transformers_computes_and_writes_the_same(tmp_path: Path, options: Gpt2Options) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, options)
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert_agree(model, peer)
    assert_writes_alike(model, peer, transformers)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("options", SHAPES)
def test_what_transformers_writes_is_read(tmp_path: Path, options: Gpt2Options) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=options.vocab_size, n_embd=options.width, n_layer=options.layers, n_head=options.heads,
        n_positions=options.context, n_inner=options.feed_forward, layer_norm_epsilon=options.norm_eps,
        tie_word_embeddings=options.tied, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    assert_reads(transformers.GPT2LMHeadModel(config).eval(), tmp_path, options)


def test_the_first_files_without_a_prefix_and_with_masks_are_read(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPES[0])
    weights = {name.removeprefix("transformer."): w for name, w in load_file(tmp_path / WEIGHTS).items()}
    weights |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 40, 40) for layer in range(3)}
    save_file({name: w.contiguous() for name, w in weights.items()}, tmp_path / WEIGHTS)
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation_function", "relu"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
    ],
)
def test_unsupported_options_are_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    written(tmp_path, SHAPES[0])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match=f"{field}={value!r} is not supported"):
        read_config(tmp_path)


PUBLISHED = {
    "gpt2-small": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_shapes_have_their_published_size(name: str, count: int) -> None:
    assert parameters(name) == count


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("gpt2")


def test_what_a_preset_leaves_out_follows_the_fields_that_are_given() -> None:
    shape = model_options({"name": "gpt2-small", "width": "96", "heads": "3"})
    assert (shape.kv_heads, shape.head_dim, shape.feed_forward) == (3, 32, 384)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": 100}, "model.width=100 is no multiple of model.heads=12"),
        ({"kv_heads": 3}, "model.kv_heads=3: a GPT has as many as model.heads=12; leave it out"),
        ({"head_dim": 32}, "model.head_dim=32: the heads of a GPT share its width, so it is 768 / 12"),
        ({"rope_theta": 5.0}, "model.rope_theta=5: a GPT learns its positions"),
        ({"heads": 0}, "model.heads=0 must be at least 1"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        model_options({"name": "gpt2-small", **fields})
