"""The native step is the eager one, for every shape and on every way through a batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from chatwright.files import cpp_compiler
from chatwright.generation import native
from chatwright.generation.engine import Vocabulary, generate, stream
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder
from helpers.decoders import DECODERS
from helpers.parity import lively

from .conftest import random_model
from .test_engine import ENDLESS, GREEDY, by_hand, prompts_of_many_lengths
from .test_inference import SHAPES, causal, full_logits

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler")


def compiled(model: Decoder) -> Inference:
    inference = Inference(model, compiled=True)
    assert inference.is_compiled
    return inference


@needs_compiler
@pytest.mark.parametrize("shape", [*SHAPES, {"feed_forward": 70, "width": 40, "layers": 3, "head_dim": 6}])
@pytest.mark.parametrize("rows", [1, 3, 21])
def test_logits_equal_those_of_the_whole_forward_pass(shape: dict[str, int], rows: int) -> None:
    model = random_model(**shape)
    ids = torch.randint(0, 97, (rows, 30), generator=torch.Generator().manual_seed(1))
    expected = full_logits(model, ids)
    inference = compiled(model)
    cache = inference.cache(rows, 5)
    inference.prefill(ids[:, :4], torch.arange(4), cache, causal(0, 4))
    for place in range(4, 30):
        found = inference.step(ids[:, place], torch.tensor([place]), cache)
        torch.testing.assert_close(found, expected[:, place], atol=1e-4, rtol=1e-4)
    assert cache.length == 30


@needs_compiler
def test_what_is_not_seen_does_not_count() -> None:
    model = random_model()
    prompts = [[5, 6, 7, 8, 9], [7, 8]]
    eager, native_one = Inference(model), compiled(model)
    steps = []
    for inference in (eager, native_one):
        cache = inference.cache(2, 8)
        for tensor in (*cache.claim(0)[0], *cache.claim(0)[1]):
            tensor.zero_()
        inference.prefill(torch.tensor([prompts[0], [0, 0, 0, 7, 8]]), torch.arange(5), cache, causal(0, 5))
        seen = torch.tensor([[True] * 6, [False] * 3 + [True] * 3])
        steps.append(inference.step(torch.tensor([1, 2]), torch.tensor([5, 2]), cache, seen))
    torch.testing.assert_close(steps[0], steps[1], atol=1e-4, rtol=1e-4)


@needs_compiler
def test_greedy_answers_are_the_same(model: Decoder) -> None:
    prompts = prompts_of_many_lengths()
    answers = generate(compiled(model), prompts, GREEDY, ENDLESS)
    assert [answer.ids for answer in answers] == [by_hand(model, prompt, 12) for prompt in prompts]


@needs_compiler
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_that_end_at_different_steps_change_nothing(model: Decoder, temperature: float) -> None:
    prompts = prompts_of_many_lengths()
    options = SamplingOptions(max_new_tokens=40, temperature=temperature, seed=5)
    vocabulary = Vocabulary(frozenset(range(6)), frozenset(range(10, 14)))
    inference = compiled(model)
    expected = generate(model, prompts, options, vocabulary)
    assert len({len(answer.ids) for answer in expected}) > 2, "the rows must end at different steps"
    for size in (2, 7, 256):
        assert generate(inference, prompts, options, vocabulary, batch_rows=size) == expected
    for index, prompt in enumerate(prompts[:5]):
        tokens = [token for token, _ in stream(inference, prompt, options, vocabulary, row=index)]
        assert tokens == expected[index].ids


def _said(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    lines: list[str] = []
    monkeypatch.setattr("chatwright.generation.inference.say", lines.append)
    return lines


@pytest.mark.parametrize("compiler, why", [(None, "there is no C++ compiler"), ("false", "false failed")])
def test_without_a_working_compiler_it_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, model: Decoder, compiler: str | None, why: str
) -> None:
    lines = _said(monkeypatch)
    monkeypatch.setattr(native, "cpp_compiler", lambda: compiler)
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    inference = Inference(model, compiled=True)
    assert not inference.is_compiled and len(lines) == 1 and why in lines[0]
    assert generate(inference, [[3, 4]], GREEDY, ENDLESS)[0].ids == by_hand(model, [3, 4], 12)


def test_half_precision_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _said(monkeypatch)
    half = random_model()
    half.compute_dtype = torch.bfloat16
    assert not Inference(half, compiled=True).is_compiled and "float32" in lines[0]


@needs_compiler
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_every_decoder_that_compiles_computes_what_it_did(name: str) -> None:
    model = lively(Decoder(DECODERS[name])).eval()
    ids = torch.randint(0, 64, (3, 30), generator=torch.Generator().manual_seed(1))
    expected, inference = full_logits(model, ids), compiled(model)
    cache = inference.cache(3, 5)
    inference.prefill(ids[:, :4], torch.arange(4), cache, causal(0, 4))
    for place in range(4, 30):
        found = inference.step(ids[:, place], torch.tensor([place]), cache)
        torch.testing.assert_close(found, expected[:, place], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpt1", "gpt2", "gpt3", "qwen3-moe"])
def test_what_cannot_be_compiled_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines = _said(monkeypatch)
    model = lively(Decoder(DECODERS[name])).eval()
    inference = Inference(model, compiled=True)
    assert not inference.is_compiled and "it knows the parts of Llama and Qwen only" in lines[0]
    assert generate(inference, [[3, 4]], GREEDY, ENDLESS)[0].ids == by_hand(model, [3, 4], 12)
