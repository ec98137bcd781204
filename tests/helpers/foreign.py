"""Tiny random models of `transformers` as layouts, and layouts back as models of `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatwright.models.interop.layout import Layout
from helpers.weights import stirred

ROWS = 40
_DECODER = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_GPT2 = {"vocab_size": ROWS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
# name -> (the class of its config, what the config says)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _DECODER | {"tie_word_embeddings": True}),
    "llama-untied-biased": ("LlamaConfig", _DECODER | {"attention_bias": True, "rms_norm_eps": 1e-5}),
    "llama-odd": (
        "LlamaConfig",
        _DECODER | {"hidden_size": 21, "head_dim": 10, "num_attention_heads": 3, "num_key_value_heads": 1},
    ),
    "llama3": ("LlamaConfig", _DECODER | {"head_dim": 64, "rope_parameters": _LLAMA3}),
    "llama-linear": (
        "LlamaConfig",
        _DECODER | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    ),
    "qwen2": ("Qwen2Config", _DECODER | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen3": ("Qwen3Config", _DECODER | {"head_dim": 24, "tie_word_embeddings": True}),
    "qwen3-yarn": (
        "Qwen3Config",
        _DECODER
        | {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 10_000.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "qwen3-moe": (
        "Qwen3MoeConfig",
        _DECODER
        | {
            "head_dim": 16,
            "moe_intermediate_size": 32,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
        },
    ),
    "gpt2": ("GPT2Config", _GPT2),
    "gpt2-wide": ("GPT2Config", _GPT2 | {"n_inner": 96, "tie_word_embeddings": False}),
    "bert": (
        "BertConfig",
        {
            "vocab_size": ROWS,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
        },
    ),
}
_CLASSES = {
    "LlamaConfig": "LlamaForCausalLM",
    "Qwen2Config": "Qwen2ForCausalLM",
    "Qwen3Config": "Qwen3ForCausalLM",
    "Qwen3MoeConfig": "Qwen3MoeForCausalLM",
    "GPT2Config": "GPT2LMHeadModel",
    "BertConfig": "BertModel",
}


def random_layout(case: str, directory: Path) -> Layout:
    """A stirred tiny model as `transformers` itself saves it."""
    transformers = pytest.importorskip("transformers")
    config, said = CASES[case]
    torch.manual_seed(0)
    model = getattr(transformers, _CLASSES[config])(getattr(transformers, config)(**said))
    stirred(model).save_pretrained(directory)
    return Layout(
        json.loads((directory / "config.json").read_text()), load_file(directory / "model.safetensors")
    )


def outputs(layout: Layout, directory: Path) -> Tensor:
    """Logits, or the last hidden states of an encoder, that `transformers` computes from a layout."""
    transformers = pytest.importorskip("transformers")
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(layout.config))
    weights = {name: weight.contiguous() for name, weight in layout.weights.items()}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    kind = getattr(transformers, layout.config["architectures"][0])
    model, info = kind.from_pretrained(directory, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert all("pooler" in key for key in info["missing_keys"])
    inputs = torch.randint(0, ROWS, (2, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Tensor = model.eval()(inputs)[0]
    return found
