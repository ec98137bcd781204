"""A run is a model of the public format: `transformers` reads it and computes the same logits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, load_model, read_config, write_config
from chatwright.models.interop.weights import load_public_weights, public_weights
from helpers.weights import stirred

SHAPE = DecoderOptions(
    vocab_size=70, width=32, layers=3, heads=4, kv_heads=2, head_dim=16, feed_forward=40, context=64,
    rope_theta=5_000.0, norm_eps=1e-5,
)  # fmt: skip


def written(directory: Path, options: DecoderOptions) -> Decoder:
    model = stirred(Decoder(options))
    write_config(directory, options, EndTokens(bos=0, eos=[2, 0], pad=3))
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_computes_the_same(tmp_path: Path, tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, replace(SHAPE, tied=tied))
    peer = transformers.Qwen3ForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    inputs = torch.randint(0, 70, (2, 33), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine, theirs = model(inputs, outputs=("logits",))["logits"], peer(inputs).logits
    assert float(mine.abs().max()) > 1.0
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters()
    generation = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (generation.eos_token_id, generation.pad_token_id) == ([2, 0], 3)


@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path, tied: bool) -> None:
    options = replace(SHAPE, tied=tied)
    model = written(tmp_path, options)
    assert read_config(tmp_path) == options
    again = load_model(tmp_path)
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    names = set(load_file(tmp_path / WEIGHTS))
    assert ("lm_head.weight" in names) is not tied
    assert "model.layers.2.self_attn.q_norm.weight" in names


def test_half_precision_weights_are_read_into_float32(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPE)
    halved = {name: value.bfloat16() for name, value in load_file(tmp_path / WEIGHTS).items()}
    save_file(halved, tmp_path / WEIGHTS)
    again = load_model(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    torch.testing.assert_close(again.embedding.weight, model.embedding.weight, rtol=0.01, atol=0.01)


def test_a_tied_model_may_carry_its_head_twice(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPE)
    weights = load_file(tmp_path / WEIGHTS)
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, tmp_path / WEIGHTS)
    assert torch.equal(load_model(tmp_path).embedding.weight, model.embedding.weight)


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    model = Decoder(SHAPE)
    weights = dict(public_weights(model))
    wrong = {**weights, "model.norm.weight": torch.zeros(9)}
    with pytest.raises(UserError, match=r"in here do not fit.*model\.norm\.weight is \(9,\).*says \(32,\)"):
        load_public_weights(model, wrong, "here")
    lacking = {name: value for name, value in weights.items() if "layers.1.mlp.up_proj" not in name}
    with pytest.raises(UserError, match=r"missing model\.layers\.1\.mlp\.up_proj\.weight$"):
        load_public_weights(model, lacking, "here")
    with pytest.raises(UserError, match=r"not known visual\.weight"):
        load_public_weights(model, {**weights, "visual.weight": torch.zeros(1)}, "here")
    with pytest.raises(UserError, match=r"lm_head\.weight"):
        load_public_weights(Decoder(replace(SHAPE, tied=False)), weights, "here")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot read .*config.json"),
        ("[]", "config.json"),
        ('{"model_type": "mamba"}', "a model of type 'mamba'; supported are .*qwen3"),
        ('{"model_type": "qwen3"}', "lacks the field 'vocab_size'"),
    ],
)
def test_a_config_that_is_no_qwen3_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_config(tmp_path)


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no model in"):
        load_model(tmp_path)
    written(tmp_path, SHAPE)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:500])
    with pytest.raises(UserError, match=f"cannot read .*{WEIGHTS}"):
        load_model(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(UserError, match="there are no weights in"):
        load_model(tmp_path)


def test_both_spellings_of_the_rotary_base_are_read(tmp_path: Path) -> None:
    written(tmp_path, SHAPE)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["rope_theta"]
    path.write_text(json.dumps(config))
    assert read_config(tmp_path).rope_theta == 5_000.0
