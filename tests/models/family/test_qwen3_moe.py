"""Qwen3-MoE is the public one: logits, weights in and out, generation; its sizes are the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatwright.errors import UserError
from chatwright.models.family.qwen3_moe import Qwen3MoeOptions
from chatwright.models.interop.files import WEIGHTS, load_model, read_config
from helpers.parity import assert_agree, assert_reads, assert_writes_alike, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    Qwen3MoeOptions(
        vocab_size=70, width=32, layers=3, heads=4, kv_heads=2, head_dim=16, feed_forward=20, context=64,
        tied=False, experts=6, experts_per_token=2,
    ),
    Qwen3MoeOptions(
        vocab_size=51, width=42, layers=2, heads=3, kv_heads=1, head_dim=14, feed_forward=30,
        rope_theta=5_000.0, experts=5, experts_per_token=3, normalized_shares=False,
    ),
    Qwen3MoeOptions(
        vocab_size=33, width=24, layers=1, heads=2, kv_heads=0, head_dim=0, feed_forward=33, norm_eps=1e-3,
        experts=3, experts_per_token=1, normalized_shares=False,
    ),
]  # fmt: skip
# Its faster experts want sizes that are multiples of 4.
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


@pytest.mark.parametrize("options", SHAPES)
def test_transformers_computes_and_writes_the_same(tmp_path: Path, options: Qwen3MoeOptions) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, options)
    peer = transformers.Qwen3MoeForCausalLM.from_pretrained(tmp_path, **EAGER).eval()
    assert_agree(model, peer)
    assert_writes_alike(model, peer, transformers)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    names = set(load_file(tmp_path / WEIGHTS))
    assert {f"model.layers.0.mlp.experts.{n}.up_proj.weight" for n in range(options.experts)} <= names


@pytest.mark.parametrize("options", SHAPES)
def test_what_transformers_writes_is_read(tmp_path: Path, options: Qwen3MoeOptions) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3MoeConfig(
        vocab_size=options.vocab_size, hidden_size=options.width, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, num_key_value_heads=options.kv_heads, head_dim=options.head_dim,
        moe_intermediate_size=options.feed_forward, max_position_embeddings=options.context,
        rms_norm_eps=options.norm_eps, tie_word_embeddings=options.tied, num_experts=options.experts,
        num_experts_per_tok=options.experts_per_token, norm_topk_prob=options.normalized_shares,
        rope_parameters={"rope_type": "default", "rope_theta": options.rope_theta},
    )  # fmt: skip
    config._experts_implementation = "eager"
    assert_reads(transformers.Qwen3MoeForCausalLM(config).eval(), tmp_path, options)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mlp_only_layers", [0]),
        ("decoder_sparse_step", 2),
        ("attention_bias", True),
        ("use_sliding_window", True),
        ("hidden_act", "gelu"),
    ],
)
def test_unsupported_options_are_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    written(tmp_path, SHAPES[0])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(UserError, match=f"{field}=.* is not supported"):
        read_config(tmp_path)


def test_more_experts_of_a_token_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.experts_per_token=9 must be from 1 to model\.experts=8"):
        Qwen3MoeOptions(experts_per_token=9)


@pytest.mark.parametrize(
    ("name", "count"), [("qwen3-30b-a3b", 30_532_122_624), ("qwen3-235b-a22b", 235_093_634_560)]
)
def test_published_shapes_have_their_published_size(name: str, count: int) -> None:
    assert parameters(name) == count


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("qwen3-moe")
