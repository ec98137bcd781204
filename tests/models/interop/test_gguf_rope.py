"""Positions that are stretched: what both formats say, and Llama 3's factors found again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.interop.gguf_rope import read_rope, shortest, write_rope

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    "parameters",
    [
        {"rope_type": "default", "rope_theta": 1e6},
        {"rope_type": "linear", "factor": 2.5, "rope_theta": 1e4},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1e6},
        {**LLAMA3, "rope_theta": 5e5},
        {
            **LLAMA3,
            "factor": 8.0,
            "high_freq_factor": 8.0,
            "original_max_position_embeddings": 4096,
            "rope_theta": 1e4,
        },
    ],
    ids=lambda parameters: f"{parameters['rope_type']}-{parameters.get('factor')}",
)
def test_there_and_back(parameters: dict[str, Any]) -> None:
    config = {"rope_parameters": parameters}
    metadata, factors = write_rope(config, 128, "config.json")
    assert (factors is not None) == (parameters["rope_type"] == "llama3")
    assert read_rope(metadata, factors, 128, "m.gguf") == (parameters["rope_theta"], parameters)
    # files made by llama.cpp's converter do not say where Llama 3's factors come from
    metadata.pop("rope.scaling.original_context_length", None)
    if parameters["rope_type"] == "llama3":
        assert read_rope(metadata, factors, 128, "m.gguf")[1] == parameters


def test_the_factors_are_the_peers() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = transformers.LlamaConfig(
        hidden_size=512, num_attention_heads=4, rope_parameters={**LLAMA3, "rope_theta": 5e5}
    )
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 5e5 ** -(torch.arange(0, 128, 2) / 128)
    _, factors = write_rope({"rope_parameters": {**LLAMA3, "rope_theta": 5e5}}, 128, "config.json")
    assert factors is not None
    torch.testing.assert_close(plain / factors, stretched, rtol=1e-4, atol=0)


def test_the_old_spelling_is_read() -> None:
    config = {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.0}}
    metadata, _ = write_rope(config, 64, "config.json")
    assert read_rope(metadata, None, 64, "m.gguf")[1]["factor"] == 2.0
    assert read_rope({"rope.scale_linear": 4.0}, None, 64, "m.gguf")[1] == {
        "rope_type": "linear",
        "factor": 4.0,
        "rope_theta": 1e4,
    }


@pytest.mark.parametrize(
    ("metadata", "factors", "said"),
    [
        ({"rope.dimension_count": 32}, None, "turns 32 of 64"),
        ({"rope.freq_base": -1.0}, None, "rope.freq_base=-1.0"),
        ({"rope.freq_base": float("nan")}, None, "rope.freq_base=nan"),
        ({"rope.scaling.type": "longrope"}, None, "'longrope'; default, linear, yarn and llama3"),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": -2.0}, None, "factor=-2.0"),
        ({"rope.scaling.type": "yarn", "rope.scaling.factor": 2.0}, None, "original_context_length"),
        ({"rope.scaling.yarn_beta_fast": 16.0}, None, "yarn_beta_fast=16.0; only 32.0"),
        ({}, torch.linspace(1, 9, 32), "not Llama 3's factors"),
        ({}, torch.full((5,), 2.0), "not Llama 3's factors"),
        ({}, torch.full((32,), float("nan")), "not Llama 3's factors"),
    ],
)
def test_what_is_not_supported_is_named(
    metadata: dict[str, Any], factors: torch.Tensor | None, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read_rope(metadata, factors, 64, "m.gguf")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rope_type": "longrope"}, "'longrope' has no place"),
        ({"rope_type": "linear"}, r"mend \['factor'\]"),
        ({"rope_type": "linear", "factor": "2"}, "factor='2' is not a positive number"),
        (
            {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8, "mscale": 1.0},
            "mscale",
        ),
        ({**LLAMA3, "low_freq_factor": 4.0}, "must be below"),
    ],
)
def test_what_has_no_place_in_gguf_is_named(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        write_rope({"rope_parameters": parameters}, 64, "config.json")


def test_the_shortest_decimal_of_a_float32() -> None:
    assert [shortest(value) for value in (9.999999747378752e-06, 500000, 0.1)] == [1e-5, 500000.0, 0.1]
