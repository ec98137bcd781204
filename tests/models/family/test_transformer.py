"""A translation run is a Marian model: `transformers` reads it, computes the same, and so the other way round."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.encoder_decoder import EncoderDecoder, EncoderDecoderOptions
from chatwright.models.family.transformer import TRANSFORMER
from chatwright.models.interop.files import WEIGHTS, EndTokens, load_root, read_options, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.models.presets import model_options
from helpers.weights import stirred

SHAPE = EncoderDecoderOptions(
    vocab_size=71, width=36, encoder_layers=1, decoder_layers=3, heads=3, feed_forward=50, context=40, start=3
)


def written(directory: Path, options: EncoderDecoderOptions) -> EncoderDecoder:
    model = stirred(EncoderDecoder(options)).eval()
    write_config(directory, options, EndTokens(bos=0, eos=[2], pad=3))
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return model


@pytest.mark.parametrize("activation", ["relu", "gelu", "swish"])
def test_transformers_computes_the_same_padding_or_not(tmp_path: Path, activation: str) -> None:
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, replace(SHAPE, activation=activation))
    peer = transformers.MarianMTModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, 71, (3, 11), generator=generator)
    target = torch.randint(0, 71, (3, 7), generator=generator)
    segments = torch.zeros(3, 11, dtype=torch.int32)
    segments[1, 8:], segments[2, 5:] = -1, -1
    for given in (None, segments):
        mask = None if given is None else (given >= 0).long()
        with torch.no_grad():
            mine = model(source, decoder_inputs=target, segments=given, outputs=("logits",))["logits"]
            theirs = peer(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
        assert float(mine.abs().max()) > 1.0
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    tables = 2 * 40 * 36
    assert sum(p.numel() for p in model.parameters()) - 71 == peer.num_parameters() - tables


def test_what_transformers_writes_is_read_bit_for_bit(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MarianConfig(
        vocab_size=61, d_model=24, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=30, decoder_ffn_dim=30, max_position_embeddings=30,
        activation_function="swish", scale_embedding=True, pad_token_id=60, eos_token_id=0,
        decoder_start_token_id=60,
    )  # fmt: skip
    peer = stirred(transformers.MarianMTModel(config)).eval()
    with torch.no_grad():
        peer.final_logits_bias.normal_()
    # stirring has drawn the tables of positions, too, which are no weights
    for side in (peer.model.encoder, peer.model.decoder):
        side.embed_positions.weight.data.copy_(side.embed_positions.create_weight())
    peer.save_pretrained(tmp_path)
    model = load_root(tmp_path)
    assert isinstance(model, EncoderDecoder)
    assert (model.options.start, model.options.activation) == (60, "swish")
    assert torch.equal(model.head.bias, peer.final_logits_bias)
    inputs = torch.arange(12).view(2, 6)
    with torch.no_grad():
        mine = model(inputs, decoder_inputs=inputs, outputs=("logits",))["logits"]
        torch.testing.assert_close(
            mine, peer(input_ids=inputs, decoder_input_ids=inputs).logits, rtol=1e-4, atol=1e-4
        )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    model = written(tmp_path, SHAPE)
    assert read_options(tmp_path) == SHAPE
    again = load_root(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation_function": "tanh"}, "activation_function='tanh' is not supported"),
        ({"scale_embedding": False}, "scale_embedding=False is not supported, only True"),
        ({"scale_embedding": None}, "scale_embedding"),
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings=False"),
        ({"normalize_before": True}, "normalize_before=True"),
        ({"decoder_vocab_size": 72}, "decoder_vocab_size=72"),
        ({"decoder_ffn_dim": 51}, "decoder_ffn_dim=51 is not supported, only 50"),
        ({"decoder_attention_heads": 4}, "decoder_attention_heads=4 is not supported, only 3"),
        ({"d_model": None}, "lacks the field 'd_model'"),
        ({"encoder_ffn_dim": None}, "lacks the field 'encoder_ffn_dim'"),
    ],
)
def test_other_marians_are_refused_by_name(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    written(tmp_path, SHAPE)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(UserError, match=said):
        read_options(tmp_path)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("transformer-base", 63_082_496), ("transformer-big", 214_245_376)],
)
def test_published_sizes_have_their_parameters(name: str, parameters: int) -> None:
    """Table 3 of the paper rounds to 65 and 213 million; the bias of the output is Marian's."""
    options = model_options({"name": name})
    with torch.device("meta"):
        model = EncoderDecoder(options)
    assert sum(p.numel() for p in model.parameters()) - options.vocab_size == parameters


def test_small_sizes_fit_two_cores() -> None:
    sizes = {}
    for name in ("transformer-tiny", "transformer-small"):
        with torch.device("meta"):
            sizes[name] = sum(p.numel() for p in EncoderDecoder(model_options({"name": name})).parameters())
    assert sizes["transformer-tiny"] < 2.5e6
    assert 5e6 < sizes["transformer-small"] < 8e6
    assert set(TRANSFORMER.presets) == {*sizes, "transformer-base", "transformer-big"}
