"""The prepared forward pass is the decoder's own, and a cache changes nothing."""

from __future__ import annotations

import pytest
import torch

from chatwright.generation.cache import Cache
from chatwright.generation.inference import Inference
from chatwright.models.decoder import Decoder

from .conftest import random_model

SHAPES = [{}, {"kv_heads": 4}, {"kv_heads": 1, "layers": 3}, {"head_dim": 16}]


def full_logits(model: Decoder, ids_BT: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids_BT, outputs=("logits",))["logits"]


def causal(begin: int, end: int) -> torch.Tensor:
    return torch.arange(end) <= torch.arange(begin, end)[:, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cuts", [(9,), (1, 1, 1, 1, 1, 1, 1, 1, 1), (4, 1, 3, 1)])
def test_logits_equal_those_of_the_whole_forward_pass(shape: dict[str, int], cuts: tuple[int, ...]) -> None:
    model = random_model(**shape)
    ids = torch.randint(0, 97, (3, 9), generator=torch.Generator().manual_seed(1))
    expected = full_logits(model, ids)
    inference = Inference(model)
    cache = inference.cache(3, 2)
    begin = 0
    for size in cuts:
        end = begin + size
        if size > 1:
            found = inference.prefill(ids[:, begin:end], torch.arange(begin, end), cache, causal(begin, end))
        else:
            found = inference.step(ids[:, begin], torch.tensor([begin]), cache)
        torch.testing.assert_close(found, expected[:, end - 1], atol=1e-4, rtol=1e-4)
        begin = end


def test_an_untied_head_is_used() -> None:
    model = random_model()
    untied = Decoder(type(model.options)(**{**vars(model.options), "tied": False}))
    untied.load_state_dict({**model.state_dict(), "head.weight": torch.randn(97, 32)})
    ids = torch.tensor([[5, 6, 7]])
    inference = Inference(untied)
    found = inference.prefill(ids, torch.arange(3), inference.cache(1, 8), causal(0, 3))
    torch.testing.assert_close(found, full_logits(untied, ids)[:, -1], atol=1e-4, rtol=1e-4)


def test_the_decoders_own_forward_pass_takes_the_cache(model: Decoder) -> None:
    ids = torch.randint(0, 97, (2, 7), generator=torch.Generator().manual_seed(2))
    cache = Inference(model).cache(2, 1)
    with torch.no_grad():
        model(ids[:, :4], outputs=("logits",), cache=cache, mask=causal(0, 4))
        for place in range(4, 7):
            step = ids[:, place : place + 1]
            found = model(step, outputs=("logits",), cache=cache, positions=torch.tensor([place]))["logits"]
    torch.testing.assert_close(found[:, 0], full_logits(model, ids)[:, -1], atol=1e-4, rtol=1e-4)


def test_bfloat16_stays_near_float32(model: Decoder) -> None:
    ids = torch.randint(0, 97, (2, 7), generator=torch.Generator().manual_seed(3))
    half = random_model()
    half.compute_dtype = torch.bfloat16
    inference = Inference(half)
    found = inference.prefill(ids, torch.arange(7), inference.cache(2, 8), causal(0, 7))
    assert found.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(found, full_logits(model, ids)[:, -1]).min() > 0.99


def test_a_cache_grows_keeps_and_repeats_rows() -> None:
    cache = Cache(layers=2, rows=2, kv_heads=1, head_dim=1, capacity=1)
    for step in range(3):
        for layer in range(2):
            new = torch.tensor([[[[10.0 * layer + step]]], [[[100 + 10.0 * layer + step]]]])
            keys, values = cache.append(layer, new, -new)
    assert cache.length == 3 and cache.capacity >= 3
    assert keys.flatten().tolist() == [10, 11, 12, 110, 111, 112]
    assert values.flatten().tolist() == [-10, -11, -12, -110, -111, -112]
    cache.keep(torch.tensor([1, 1, 0]))
    keys, _ = cache.append(0, torch.full((3, 1, 1, 1), 7.0), torch.zeros(3, 1, 1, 1))
    assert keys[:, 0, :, 0].tolist() == [[100, 101, 102, 7], [100, 101, 102, 7], [0, 1, 2, 7]]
