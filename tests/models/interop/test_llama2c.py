"""llama2.c's checkpoints: the story that stories260K is known for, and files that are broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.interop.layout import Layout, interleaved
from chatwright.models.interop.llama2c import read_llama2c
from helpers.foreign import outputs, random_layout

MODELS = Path(__file__).parents[4] / "shared" / "models"
STORIES, TOKENIZER = MODELS / "stories260K.bin", MODELS / "tok512.bin"
needs_stories = pytest.mark.skipif(not STORIES.is_file(), reason="no ../shared/models beside the project")


def write(path: Path, layout: Layout) -> Path:
    """A checkpoint as llama2.c exports it: weights of one kind together, rotary pairs side by side."""
    config, weights = layout.config, layout.weights
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rows = config["vocab_size"] * (1 if config["tie_word_embeddings"] else -1)
    sizes = (config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"], heads, kv_heads)
    parts = [weights["model.embed_tokens.weight"]]
    for name, turned in (
        ("input_layernorm", 0),
        ("self_attn.q_proj", heads),
        ("self_attn.k_proj", kv_heads),
        ("self_attn.v_proj", 0),
        ("self_attn.o_proj", 0),
        ("post_attention_layernorm", 0),
        ("mlp.gate_proj", 0),
        ("mlp.down_proj", 0),
        ("mlp.up_proj", 0),
    ):
        each = [
            weights[f"model.layers.{block}.{name}.weight"] for block in range(config["num_hidden_layers"])
        ]
        parts += [interleaved(part, turned) if turned else part for part in each]
    frequencies = torch.zeros(2, config["max_position_embeddings"], config["hidden_size"] // heads // 2)
    parts += [weights["model.norm.weight"], frequencies]
    if rows < 0:
        parts.append(weights["lm_head.weight"])
    header = struct.pack("<7i", *sizes, rows, config["max_position_embeddings"])
    path.write_bytes(header + b"".join(part.numpy().tobytes() for part in parts))
    return path


@pytest.mark.parametrize("case", ["llama", "llama-untied"])
def test_a_checkpoint_is_the_model_it_was_made_from(tmp_path: Path, case: str) -> None:
    layout = random_layout("llama", tmp_path)
    if case == "llama-untied":
        weights = {**layout.weights, "lm_head.weight": torch.randn(40, 32)}
        layout = Layout({**layout.config, "tie_word_embeddings": False}, weights)
    again = read_llama2c(write(tmp_path / "m.bin", layout))
    assert again.config["tie_word_embeddings"] == (case == "llama")
    assert set(again.weights) == set(layout.weights)
    assert all(torch.equal(again.weights[name], weight) for name, weight in layout.weights.items())
    again.config["rms_norm_eps"] = layout.config["rms_norm_eps"]
    torch.testing.assert_close(outputs(again, tmp_path / "a"), outputs(layout, tmp_path / "b"))


@needs_stories
def test_stories260k_tells_its_known_story() -> None:
    transformers = pytest.importorskip("transformers")
    import tokenizers

    layout = read_llama2c(STORIES, TOKENIZER)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**layout.config)).eval()
    model.load_state_dict({**layout.weights, "lm_head.weight": layout.weights["model.embed_tokens.weight"]})
    tokenizer = tokenizers.Tokenizer.from_str(layout.tokenizer["tokenizer.json"])
    ids = model.generate(torch.tensor([[1]]), max_new_tokens=60, do_sample=False)[0].tolist()
    told = tokenizer.decode(ids)
    assert told.startswith("Once upon a time, there was a little girl named Lily. She loved to play outside")
    # its own words give its own ids again
    assert tokenizer.encode(told).ids == ids


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.bin", random_layout("llama", tmp_path))
    data = path.read_bytes()
    broken = {
        "its header asks for": (data[:-4], data[:100], data + bytes(4)),
        "has only": (b"", data[:27]),
        "its header is": (
            struct.pack("<7i", -1, *struct.unpack_from("<6i", data, 4)) + data[28:],
            struct.pack("<7i", *[(1 << 31) - 1] * 7) + data[28:],
            bytes(28) + data[28:],
        ),
        "--version 0": (struct.pack("<I", 0x616B3432) + data[4:],),
        "asks for": (struct.pack("<7i", *[(1 << 24) - 4] * 3, 2, 2, 9, 9) + data[28:],),
    }
    for said, files in broken.items():
        for content in files:
            path.write_bytes(content)
            with pytest.raises(UserError, match=said) as caught:
                read_llama2c(path)
            assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="cannot read"):
        read_llama2c(tmp_path / "none.bin")


@needs_stories
def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.bin", random_layout("llama", tmp_path))
    with pytest.raises(UserError, match="has 512 tokens, the model 40"):
        read_llama2c(path, TOKENIZER)
