"""Qwen2 is the public one: logits, weights in and out, generation; its sizes are the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.family.qwen2 import Qwen2Options
from chatwright.models.interop.files import load_model, read_config
from helpers.parity import assert_agree, assert_reads, assert_writes_alike, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    Qwen2Options(
        vocab_size=70, width=32, layers=3, heads=4, kv_heads=2, head_dim=0, feed_forward=40, context=64,
        tied=False,
    ),
    Qwen2Options(
        vocab_size=51, width=42, layers=2, heads=3, kv_heads=1, head_dim=0, feed_forward=70, rope_theta=5_000.0
    ),
    Qwen2Options(
        vocab_size=33, width=24, layers=1, heads=2, kv_heads=0, head_dim=16, feed_forward=33, norm_eps=1e-3
    ),
]  # fmt: skip


@pytest.mark.parametrize("options", SHAPES)
def test_transformers_computes_and_writes_the_same(tmp_path: Path, options: Qwen2Options) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, options)
    peer = transformers.Qwen2ForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert_agree(model, peer)
    assert_writes_alike(model, peer, transformers)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("options", SHAPES)
def test_what_transformers_writes_is_read(tmp_path: Path, options: Qwen2Options) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=options.vocab_size, hidden_size=options.width, num_hidden_layers=options.layers,
        num_attention_heads=options.heads, num_key_value_heads=options.kv_heads, head_dim=options.head_dim,
        intermediate_size=options.feed_forward, max_position_embeddings=options.context,
        rms_norm_eps=options.norm_eps, tie_word_embeddings=options.tied,
        rope_parameters={"rope_type": "default", "rope_theta": options.rope_theta},
    )  # fmt: skip
    assert_reads(transformers.Qwen2ForCausalLM(config).eval(), tmp_path, options)


def test_unsupported_options_are_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, SHAPES[0])
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "use_sliding_window": True}))
    with pytest.raises(UserError, match="use_sliding_window=True is not supported"):
        read_config(tmp_path)
    path.write_text(json.dumps({**config, "rope_parameters": {"type": "yarn", "factor": 4.0}}))
    with pytest.raises(UserError, match="positions of type 'yarn' are not supported"):
        read_config(tmp_path)


PUBLISHED = {
    "qwen2-0.5b": 494_032_768,
    "qwen2-1.5b": 1_543_714_304,
    "qwen2-7b": 7_615_616_512,
    "qwen2-72b": 72_706_203_648,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
}


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_published_shapes_have_their_published_size(name: str, count: int) -> None:
    assert parameters(name) == count


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("qwen2")
