"""GPT-3: its banded layers are GPT-Neo's, and its sizes are those of the paper's table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.family.gpt3 import Gpt3Options
from chatwright.models.interop.files import load_model, read_config
from helpers.parity import assert_agree, assert_writes_alike, lively, written
from helpers.sizes import assert_small_sizes_are_near_their_names, parameters

SHAPES = [
    Gpt3Options(vocab_size=70, width=32, layers=4, heads=4, context=40, band=5),
    Gpt3Options(vocab_size=51, width=42, layers=3, heads=6, feed_forward=70, context=64, band=1),
    Gpt3Options(vocab_size=33, width=15, layers=2, heads=3, context=33, band=90),
]
# GPT-Neo's names of what differs from ours.
PARTS = {
    "attention.query": "attn.attention.q_proj",
    "attention.key": "attn.attention.k_proj",
    "attention.value": "attn.attention.v_proj",
    "attention.output": "attn.attention.out_proj",
    "attention_norm": "ln_1",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}


def peer_of(model: Decoder, transformers: object) -> torch.nn.Module:
    """GPT-Neo with the model's weights. It does not divide scores by √D and has no biases at queries, keys and values:
    ours are set to zero, and its queries are divided."""
    o = model.options
    assert isinstance(o, Gpt3Options)
    kinds = [["global", "local"][layer % 2] for layer in range(o.layers)]
    config = transformers.GPTNeoConfig(  # type: ignore[attr-defined]
        vocab_size=o.vocab_size, hidden_size=o.width, num_layers=o.layers, num_heads=o.heads,
        intermediate_size=o.feed_forward, max_position_embeddings=o.context, window_size=o.band,
        attention_types=[[[kind], 1] for kind in kinds], layer_norm_epsilon=o.norm_eps,
    )  # fmt: skip
    names = {"embedding": "transformer.wte", "positions": "transformer.wpe", "final_norm": "transformer.ln_f"}
    weights = {}
    for name, tensor in model.state_dict().items():
        part, _, kind = name.rpartition(".")
        if part.endswith(("attention.query", "attention.key", "attention.value")) and kind == "bias":
            tensor.zero_()
            continue
        if part.startswith("blocks."):
            _, layer, inner = part.split(".", 2)
            part = f"transformer.h.{layer}.{PARTS[inner]}"
        weights[f"{names.get(part, part)}.{kind}"] = tensor * o.head_dim**-0.5 if "q_proj" in part else tensor
    peer = transformers.GPTNeoForCausalLM(config).eval()  # type: ignore[attr-defined]
    missing = peer.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert missing.missing_keys == ["lm_head.weight"]
    return peer  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", SHAPES)
def test_alternating_layers_are_those_of_gpt_neo(options: Gpt3Options) -> None:
    transformers = pytest.importorskip("transformers")
    model = lively(Decoder(options)).eval()
    peer = peer_of(model, transformers)
    biases = 3 * options.layers * options.width
    with torch.no_grad():
        inputs = torch.randint(0, options.vocab_size, (2, 33), generator=torch.Generator().manual_seed(1))
        mine, theirs = model(inputs, outputs=("logits",))["logits"], peer(inputs).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters() + biases
    assert_writes_alike(model, peer, transformers)


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPES[0])
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "chatwright-gpt3"
    assert read_config(tmp_path) == SHAPES[0]
    again = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_band_that_reaches_everywhere_makes_a_gpt2(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, SHAPES[2])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert_agree(model, peer)


# Brown et al. 2020, table 2.1, in millions.
TABLE = {
    "gpt3-125m": 125,
    "gpt3-350m": 350,
    "gpt3-760m": 760,
    "gpt3-1.3b": 1_300,
    "gpt3-2.7b": 2_700,
    "gpt3-6.7b": 6_700,
    "gpt3-13b": 13_000,
    "gpt3-175b": 175_000,
}


@pytest.mark.parametrize(("name", "millions"), TABLE.items())
def test_published_shapes_have_about_their_published_size(name: str, millions: int) -> None:
    assert parameters(name) == pytest.approx(1e6 * millions, rel=0.02)


def test_small_sizes_are_near_their_names() -> None:
    assert_small_sizes_are_near_their_names("gpt3")


def test_a_band_without_a_position_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.band=0 must be at least 1"):
        Gpt3Options(band=0)
