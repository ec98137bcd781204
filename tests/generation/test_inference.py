"""The prepared forward pass is the decoder's own, and a cache changes nothing."""

from __future__ import annotations

import pytest
import torch

from chatwright.generation.cache import Cache
from chatwright.generation.engine import Vocabulary, generate
from chatwright.generation.inference import Inference, Plain
from chatwright.generation.prepared import Prepared
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder
from helpers.decoders import DECODERS
from helpers.parity import lively

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
            found = inference.prefill(ids[:, begin:end], cache)
        else:
            found = inference.step(ids[:, begin], cache)
        torch.testing.assert_close(found, expected[:, end - 1], atol=1e-4, rtol=1e-4)
        begin = end


def test_an_untied_head_is_used() -> None:
    model = random_model()
    untied = Decoder(type(model.options)(**{**vars(model.options), "tied": False}))
    untied.load_state_dict({**model.state_dict(), "head.weight": torch.randn(97, 32)})
    ids = torch.tensor([[5, 6, 7]])
    inference = Inference(untied)
    found = inference.prefill(ids, inference.cache(1, 8))
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
    found = inference.prefill(ids, inference.cache(2, 8))
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cuts", [(20,), (1,) * 20, (7, 1, 9, 1, 2)])
@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_sees_with_a_cache_what_it_sees_without(
    name: str, cuts: tuple[int, ...], dtype: torch.dtype
) -> None:
    model = lively(Decoder(DECODERS[name])).eval()
    model.compute_dtype = dtype
    ids = torch.randint(0, 64, (3, 20), generator=torch.Generator().manual_seed(1))
    expected, inference, begin = full_logits(model, ids), Inference(model), 0
    cache = inference.cache(3, 2)
    for size in cuts:
        end = begin + size
        if size > 1:
            found = inference.prefill(ids[:, begin:end], cache)
        else:
            found = inference.step(ids[:, begin], cache)
        if dtype == torch.float32:
            torch.testing.assert_close(found, expected[:, end - 1], atol=1e-4, rtol=1e-4)
        else:
            assert torch.nn.functional.cosine_similarity(found, expected[:, end - 1]).min() > 0.97
        begin = end


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_answers_prompts_of_many_lengths_as_alone(name: str) -> None:
    model = lively(Decoder(DECODERS[name])).eval()
    draw = torch.Generator().manual_seed(4)
    prompts = [
        torch.randint(0, 64, (length,), generator=draw).tolist() for length in (1, 3, 3, 9, 14, 22, 30)
    ]
    answers = generate(
        model, prompts, SamplingOptions(max_new_tokens=25, temperature=0.0), Vocabulary(frozenset({7}))
    )
    for prompt, answer in zip(prompts, answers, strict=True):
        written = torch.tensor([[*prompt, *answer.ids]])
        best = full_logits(model, written)[0, len(prompt) - 1 : -1].argmax(dim=-1)
        assert answer.ids == best.tolist()
    assert len({len(answer.ids) for answer in answers}) > 1


def test_parts_of_llama_and_qwen_are_laid_out_and_others_are_not() -> None:
    laid_out = {name for name, options in DECODERS.items() if Prepared.takes(options)}
    assert laid_out == {"llama", "qwen2", "qwen3"}


def test_the_general_way_copies_no_float32_weight_and_follows_nothing_that_is_cast() -> None:
    model = lively(Decoder(DECODERS["gpt2"])).eval()
    shared = Plain(model, torch.float32)._model.embedding.weight
    assert shared.data_ptr() == model.embedding.weight.data_ptr()
    cast = Plain(model, torch.bfloat16)._model.blocks[0]
    assert cast.attention.query.weight.dtype == torch.bfloat16
    assert cast.attention_norm.weight.dtype == torch.float32
