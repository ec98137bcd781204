"""GPT-1 is the public one: logits, weights in and out, generation; it has the published size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.family.gpt1 import Gpt1Options
from chatwright.models.interop.files import load_model, read_config
from helpers.parity import assert_agree, assert_reads, assert_writes_alike, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    Gpt1Options(vocab_size=70, width=32, layers=3, heads=4, context=40),
    Gpt1Options(vocab_size=51, width=42, layers=2, heads=6, context=64, tied=False),
    Gpt1Options(vocab_size=33, width=15, layers=1, heads=3, context=33, norm_eps=1e-3),
]


@pytest.mark.parametrize("options", SHAPES)
def test_transformers_computes_and_writes_the_same(tmp_path: Path, options: Gpt1Options) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, options)
    peer = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path).eval()
    assert_agree(model, peer)
    assert_writes_alike(model, peer, transformers)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("options", SHAPES)
def test_what_transformers_writes_is_read(tmp_path: Path, options: Gpt1Options) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.OpenAIGPTConfig(
        vocab_size=options.vocab_size, n_embd=options.width, n_layer=options.layers, n_head=options.heads,
        n_positions=options.context, layer_norm_epsilon=options.norm_eps, tie_word_embeddings=options.tied,
    )  # fmt: skip
    assert_reads(transformers.OpenAIGPTLMHeadModel(config).eval(), tmp_path, options)


def test_unsupported_options_are_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, SHAPES[0])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "afn": "relu"}))
    with pytest.raises(UserError, match="afn='relu' is not supported"):
        read_config(tmp_path)
    with pytest.raises(UserError, match=r"model\.feed_forward=64: of a GPT-1 it is 4 x 32; leave it out"):
        Gpt1Options(width=32, heads=4, feed_forward=64)


def test_it_has_the_published_size() -> None:
    assert parameters("gpt1") == 116_534_784


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("gpt1")
