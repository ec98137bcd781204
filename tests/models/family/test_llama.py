"""Llama is the public one: logits, slowed angles, weights in and out, generation; its sizes are the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.family.llama import LlamaOptions
from chatwright.models.interop.files import load_model, read_config
from chatwright.models.positions import rotary_table
from helpers.parity import assert_agree, assert_reads, assert_writes_alike, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    LlamaOptions(
        vocab_size=70, width=32, layers=3, heads=4, kv_heads=2, head_dim=0, feed_forward=40, context=64,
        tied=False,
    ),
    LlamaOptions(
        vocab_size=51, width=42, layers=2, heads=3, kv_heads=1, head_dim=18, feed_forward=70, context=128,
        rope_theta=5_000.0, rope_factor=8.0, rope_low=0.5, rope_high=3.0, rope_context=24,
    ),
    LlamaOptions(
        vocab_size=33, width=24, layers=1, heads=2, kv_heads=0, head_dim=0, feed_forward=33, norm_eps=1e-3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("options", SHAPES)
def test_transformers_computes_and_writes_the_same(tmp_path: Path, options: LlamaOptions) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, options)
    peer = transformers.LlamaForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert_agree(model, peer)
    assert_agree(model, peer, length=60)
    assert_writes_alike(model, peer, transformers, new=30)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("options", SHAPES)
def test_what_transformers_writes_is_read(tmp_path: Path, options: LlamaOptions) -> None:
    transformers = pytest.importorskip("transformers")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": options.rope_theta}
    if options.rope_factor > 1:
        rope |= {
            "rope_type": "llama3", "factor": options.rope_factor, "low_freq_factor": options.rope_low,
            "high_freq_factor": options.rope_high,
            "original_max_position_embeddings": options.rope_context,
        }  # fmt: skip
    config = transformers.LlamaConfig(
        vocab_size=options.vocab_size, hidden_size=options.width, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, num_key_value_heads=options.kv_heads, head_dim=options.head_dim,
        intermediate_size=options.feed_forward, max_position_embeddings=options.context,
        rms_norm_eps=options.norm_eps, tie_word_embeddings=options.tied, rope_parameters=rope,
    )  # fmt: skip
    assert_reads(transformers.LlamaForCausalLM(config).eval(), tmp_path, options)


def test_slowed_angles_are_the_public_ones_at_full_length() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    options = LlamaOptions(head_dim=64, rope_theta=500_000.0, rope_factor=32.0, context=131_072)
    rope = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = transformers.LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        head_dim=64,
        max_position_embeddings=131_072,
        rope_parameters=rope,
    )
    places = torch.tensor([0, 1, 77, 8_191, 8_192, 65_000])
    cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), places[None])
    mine = rotary_table(places, 64, options.rope_theta, options.scaling)
    torch.testing.assert_close(mine[0], cos[0], rtol=0, atol=2e-3)
    torch.testing.assert_close(mine[1][..., 32:], sin[0][..., 32:], rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_bias": True}, "attention_bias=True is not supported"),
        ({"mlp_bias": True}, "mlp_bias=True is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported"),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}},
            "positions of type 'yarn' are not supported",
        ),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks the field 'low_freq_factor'"),
        ({"rope_theta": None, "rope_parameters": None}, None),
        ({"num_key_value_heads": None, "head_dim": None}, None),
    ],
)
def test_other_spellings_are_read_and_unsupported_options_refused(
    tmp_path: Path, change: dict[str, Any], said: str | None
) -> None:
    options = LlamaOptions(width=32, heads=4, kv_heads=0, head_dim=0, feed_forward=40)
    written(tmp_path, options)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    if said is None:
        assert read_config(tmp_path) == options
    else:
        with pytest.raises(UserError, match=said):
            read_config(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rope_factor": 0.5}, "model.rope_factor=0.5 must be at least 1"),
        ({"rope_low": 4.0}, "model.rope_low=4 must be more than 0 and less than model.rope_high=4"),
        ({"rope_context": 0}, "model.rope_context=0 must be at least 1"),
    ],
)
def test_impossible_angles_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        LlamaOptions(**fields)


PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_shapes_have_their_published_size(name: str, count: int) -> None:
    assert parameters(name) == count


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("llama")
