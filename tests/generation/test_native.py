"""What runs natively computes what the decoder does, for every family, kind of weights, and way through a batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from chatwright.files import cpp_compiler
from chatwright.generation import native
from chatwright.generation.engine import Vocabulary, generate, stream
from chatwright.generation.inference import Inference
from chatwright.generation.native import Native, Weights
from chatwright.generation.quantized import GROUP, Bits, quantized
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.ways import Part
from chatwright.models.decoder import Decoder
from chatwright.models.layers import Linear
from helpers.decoders import DECODERS
from helpers.parity import lively

from .conftest import random_model
from .test_engine import ENDLESS, GREEDY, by_hand, prompts_of_many_lengths
from .test_inference import SHAPES, full_logits

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler")
NATIVE = [name for name in DECODERS if name != "qwen3-moe"]
KINDS: list[Weights] = ["float32", "bf16", "int8", "int4"]


def compiled(model: Decoder, weights: Weights = "float32") -> Inference:
    inference = Inference(model, compiled=True, weights=weights)
    assert inference.is_compiled and inference.weights == weights
    return inference


def written(inference: Inference, ids: Tensor, first: int = 4) -> Tensor:
    """The logits after every token from `first` on, of a prompt and then steps: [B, T - first, V]."""
    cache = inference.cache(ids.size(0), 5)
    found = [inference.prefill(ids[:, : first + 1], cache)]
    found += [inference.step(ids[:, place], cache) for place in range(first + 1, ids.size(1))]
    assert cache.length == ids.size(1)
    return torch.stack(found, dim=1)


def random_ids(rows: int, length: int, vocab_size: int = 64) -> Tensor:
    return torch.randint(0, vocab_size, (rows, length), generator=torch.Generator().manual_seed(1))


@needs_compiler
@pytest.mark.parametrize("shape", [*SHAPES, {"feed_forward": 70, "width": 40, "layers": 3, "head_dim": 6}])
@pytest.mark.parametrize("rows", [1, 3, 21])
def test_logits_equal_those_of_the_whole_forward_pass(shape: dict[str, int], rows: int) -> None:
    model, ids = random_model(**shape), random_ids(rows, 50, 97)
    found = written(compiled(model), ids)
    torch.testing.assert_close(found, full_logits(model, ids)[:, 4:], atol=1e-4, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize("name", NATIVE)
def test_every_family_computes_what_it_did(name: str) -> None:
    model, ids = lively(Decoder(DECODERS[name])).eval(), random_ids(3, 40)
    found = written(compiled(model), ids)
    torch.testing.assert_close(found, full_logits(model, ids)[:, 4:], atol=1e-4, rtol=1e-4)


@needs_compiler
def test_wide_heads_in_large_groups_and_an_untied_head() -> None:
    model = random_model(heads=14, kv_heads=2, head_dim=72, width=64, layers=1)
    untied = Decoder(type(model.options)(**{**vars(model.options), "tied": False}))
    untied.load_state_dict({**model.state_dict(), "head.weight": torch.randn(97, 64)})
    ids = random_ids(2, 40, 97)
    found = written(compiled(untied), ids)
    torch.testing.assert_close(found, full_logits(untied, ids)[:, 4:], atol=2e-4, rtol=1e-4)


def rounded_logits(model: Decoder, weights: Weights, ids_B1: Tensor) -> Tensor:
    """What a decoder's float32 gives for single tokens, with everything rounded that is: matrices, what goes into them,
    and the values in the cache. A head has eight bits."""
    copy = Decoder(model.options).eval()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        for part in copy.modules():
            if isinstance(part, Linear):
                bits: Bits = 4 if weights == "int4" and part is not copy.head else 8
                part.weight.copy_(quantized(part.weight, bits).dequantized())
                part.register_forward_pre_hook(lambda _, inputs: (eight_bits(inputs[0]),))
        for block in copy.blocks:
            block.attention.value.register_forward_hook(lambda _, __, found: found.bfloat16().float())
        hidden = copy(ids_B1, outputs=("hidden",))["hidden"][:, 0]
        return torch.nn.functional.linear(eight_bits(hidden), copy.head_weight)


def eight_bits(x: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(x, (0, -x.size(-1) % GROUP))
    groups = padded.view(*x.shape[:-1], -1, GROUP)
    steps = groups.abs().amax(dim=-1, keepdim=True) / 127
    return ((groups / steps).round() * steps).flatten(-2)[..., : x.size(-1)]


@needs_compiler
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_products_of_integers_are_those_of_the_rounded_weights(weights: Weights) -> None:
    model = random_model(width=96, feed_forward=200, layers=1)
    untied = Decoder(type(model.options)(**{**vars(model.options), "tied": False})).eval()
    untied.load_state_dict({**model.state_dict(), "head.weight": torch.randn(97, 96)})
    with torch.no_grad():
        untied.embedding.weight.copy_(untied.embedding.weight.bfloat16())
    ids = random_ids(20, 1, 97)
    inference = compiled(untied, weights)
    found, expected = inference.step(ids[:, 0], inference.cache(20, 1)), rounded_logits(untied, weights, ids)
    errors = (found - expected).norm(dim=1) / expected.norm(dim=1)
    # what lies between two levels goes to either, and moves a row by a step
    assert errors.median() < 1e-5 and errors.max() < 0.05
    plain = full_logits(untied, ids)[:, 0]
    assert ((found - plain).norm(dim=1) / plain.norm(dim=1)).min() > 1e-3, "the rounding itself is larger"


def divergence(model: Decoder, weights: Weights) -> float:
    """The mean KL divergence from float32, in nats a token."""
    ids = random_ids(4, 40, model.options.vocab_size)
    expected = full_logits(model, ids)[:, 4:].log_softmax(dim=-1)
    found = written(compiled(model, weights), ids).log_softmax(dim=-1)
    return float((expected.exp() * (expected - found)).sum(dim=-1).mean())


@needs_compiler
@pytest.mark.parametrize("name", NATIVE)
def test_integers_stay_near_float32(name: str) -> None:
    """Random weights of a decided model: what a trained one loses is in the documentation, and less."""
    model = lively(Decoder(DECODERS[name])).eval()
    bounds: dict[Weights, float] = {"bf16": 1e-3, "int8": 2e-2, "int4": 1.0}
    found = {weights: divergence(model, weights) for weights in bounds}
    assert all(found[weights] < bound for weights, bound in bounds.items()), found
    assert found["bf16"] < found["int8"] < found["int4"]


@needs_compiler
@pytest.mark.parametrize("weights", KINDS)
def test_to_the_last_bit_nothing_depends_on_what_runs_beside_it(weights: Weights) -> None:
    model = lively(Decoder(DECODERS["qwen3"])).eval()
    ids = random_ids(9, 21).tolist()
    inference = compiled(model, weights)
    alone = []
    for row in ids:
        cache = inference.cache(1, 1)
        inference.run([Part(cache, row[:17], 0)])
        alone.append(inference.run([Part(cache, row[17:], 4)]))
    for cut in (1, 6, 16):
        caches = [inference.cache(1, 32) for _ in ids]
        inference.run([Part(cache, row[:cut], 0) for cache, row in zip(caches, ids, strict=True)])
        # some still read while others write
        early = [Part(caches[row], ids[row][cut:17], 0) for row in range(0, 9, 2)]
        inference.run(early)
        rest = [Part(caches[row], ids[row][cut:17], 0) for row in range(1, 9, 2)]
        found = inference.run([*rest, *(Part(caches[row], ids[row][17:18]) for row in range(0, 9, 2))])
        assert torch.equal(found, torch.stack([alone[row][0] for row in range(0, 9, 2)]))
        late = [Part(caches[row], ids[row][17:], 4) for row in range(1, 9, 2)]
        assert torch.equal(inference.run(late), torch.cat([alone[row] for row in range(1, 9, 2)]))


@needs_compiler
def test_threads_and_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch, model: Decoder) -> None:
    inference = compiled(model, "int8")
    ids = random_ids(3, 40, 97)
    expected = written(inference, ids, 30)
    monkeypatch.setattr(native, "_MOST_ROWS", 7)
    for threads in (1, 2, 3):
        inference.settle_threads(threads)
        assert torch.equal(written(inference, ids, 30), expected)


@needs_compiler
@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("head_dim", [8, 24, 64])
def test_what_is_not_seen_does_not_count(weights: Weights, head_dim: int) -> None:
    """Empty slots before a row's start and after its end may hold anything."""
    inference = compiled(random_model(head_dim=head_dim), weights)
    cache, alone = inference.cache(2, 64), inference.cache(1, 64)
    for tensor in (cache._keys, cache._values, alone._keys, alone._values):
        tensor.fill_(math.nan)
    starts = torch.tensor([0, 19])
    inference.prefill(torch.tensor([[1] * 19 + [5, 6], [0] * 19 + [7, 8]]), cache, starts)
    together = inference.step(torch.tensor([1, 2]), cache, starts)
    inference.prefill(torch.tensor([[7, 8]]), alone)
    torch.testing.assert_close(together[1], inference.step(torch.tensor([2]), alone)[0], atol=1e-4, rtol=1e-4)


@needs_compiler
def test_greedy_answers_are_the_same(model: Decoder) -> None:
    prompts = prompts_of_many_lengths()
    answers = generate(compiled(model), prompts, GREEDY, ENDLESS)
    assert [answer.ids for answer in answers] == [by_hand(model, prompt, 12) for prompt in prompts]


@needs_compiler
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_rows_that_end_at_different_steps_change_nothing(
    model: Decoder, temperature: float, weights: Weights
) -> None:
    prompts = prompts_of_many_lengths()
    options = SamplingOptions(max_new_tokens=40, temperature=temperature, seed=5)
    vocabulary = Vocabulary(frozenset(range(6)), frozenset(range(10, 14)))
    inference = compiled(model, weights)
    expected = generate(model if weights == "float32" else inference, prompts, options, vocabulary)
    assert len({len(answer.ids) for answer in expected}) > 2, "the rows must end at different steps"
    for size in (2, 7, 256):
        assert generate(inference, prompts, options, vocabulary, batch_rows=size) == expected
    for index, prompt in enumerate(prompts[:5]):
        tokens = [token for token, _ in stream(inference, prompt, options, vocabulary, row=index)]
        assert tokens == expected[index].ids


@needs_compiler
@pytest.mark.parametrize(
    "narrower",
    [
        "-mno-avx512vnni",
        pytest.param("-mno-avx512f", marks=pytest.mark.slow),
        pytest.param("-mno-avx", marks=pytest.mark.slow),
    ],
)
def test_processors_without_wide_integers_compute_the_same(
    monkeypatch: pytest.MonkeyPatch, narrower: str
) -> None:
    ids, model = random_ids(3, 40), lively(Decoder(DECODERS["qwen2"])).eval()
    expected = {weights: written(compiled(model, weights), ids) for weights in KINDS}
    monkeypatch.setattr(native, "_FLAGS", f"{native._FLAGS} {narrower}")
    monkeypatch.setattr(native, "_library", functools.cache(native._library.__wrapped__))
    for weights in KINDS:
        found = written(compiled(model, weights), ids)
        if weights == "float32":
            torch.testing.assert_close(found, expected[weights], atol=1e-4, rtol=1e-4)
        assert torch.nn.functional.cosine_similarity(found, expected[weights], dim=-1).min() > 0.99


def said(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    lines: list[str] = []
    monkeypatch.setattr("chatwright.generation.inference.say", lines.append)
    return lines


def without_compiler(monkeypatch: pytest.MonkeyPatch, compiler: str | None = None) -> None:
    monkeypatch.setattr(native, "cpp_compiler", lambda: compiler)
    monkeypatch.setattr(native, "_library", functools.cache(native._library.__wrapped__))


@pytest.mark.parametrize("compiler, why", [(None, "there is no C++ compiler"), ("false", "false failed")])
def test_without_a_working_compiler_it_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, model: Decoder, compiler: str | None, why: str
) -> None:
    lines = said(monkeypatch)
    without_compiler(monkeypatch, compiler)
    inference = Inference(model, compiled=True)
    assert not inference.is_compiled and len(lines) == 1 and why in lines[0]
    assert generate(inference, [[3, 4]], GREEDY, ENDLESS)[0].ids == by_hand(model, [3, 4], 12)


@pytest.mark.parametrize("is_fast, kept", [(True, "int8"), (False, "float32")])
def test_without_a_compiler_integers_are_pytorchs_where_bfloat16_pays(
    monkeypatch: pytest.MonkeyPatch, model: Decoder, is_fast: bool, kept: str
) -> None:
    lines = said(monkeypatch)
    without_compiler(monkeypatch)
    monkeypatch.setattr("chatwright.generation.inference.bfloat16_is_fast", lambda: is_fast)
    inference, ids = Inference(model, weights="int8"), random_ids(3, 20, 97)
    assert inference.weights == kept and len(lines) == 1
    found, expected = written(inference, ids), full_logits(model, ids)[:, 4:]
    assert torch.nn.functional.cosine_similarity(found, expected, dim=-1).min() > 0.97


@needs_compiler
def test_a_model_in_bfloat16_is_compiled_in_it() -> None:
    half = random_model()
    half.compute_dtype = torch.bfloat16
    inference = Inference(half, compiled=True)
    assert inference.is_compiled and inference.weights == "bf16" and inference.dtype == torch.bfloat16


def test_experts_are_not_compiled_which_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(monkeypatch)
    model = lively(Decoder(DECODERS["qwen3-moe"])).eval()
    inference = Inference(model, compiled=True)
    assert not inference.is_compiled and "it knows no experts" in lines[0]
    assert generate(inference, [[3, 4]], GREEDY, ENDLESS)[0].ids == by_hand(model, [3, 4], 12)


@needs_compiler
def test_integers_take_a_quarter_of_the_memory() -> None:
    model = random_model(width=128, feed_forward=512, vocab_size=512)
    sizes = {}
    for weights in KINDS:
        one = Native(model, weights)
        sizes[weights] = one._arena._used
    assert sizes["int8"] < 0.36 * sizes["float32"] and sizes["int4"] < 0.27 * sizes["float32"]
