"""What every decoder of the family has to do: leak nothing, begin as the identity, count its work, say what it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.attention import KERNELS
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.family.gpt3 import Gpt3Options
from chatwright.models.layers import LayerNorm, RMSNorm
from helpers.decoders import DECODERS
from helpers.parity import lively

NAMES = list(DECODERS)


def model_of(options: DecoderOptions, kernel: str = "plain") -> Decoder:
    model = lively(Decoder(options))
    model.kernel = kernel
    return model.eval()


def tokens(rows: int = 2, length: int = 21) -> Tensor:
    return torch.randint(0, 64, (rows, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def logits(model: Decoder, inputs: Tensor, **where: Any) -> Tensor:
    return model(inputs, outputs=("logits",), **where)["logits"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_a_token_never_changes_what_stands_before_it(name: str, kernel: str) -> None:
    model, inputs = model_of(DECODERS[name], kernel), tokens()
    for place in (0, 9, 20):
        changed = inputs.clone()
        changed[:, place] = (changed[:, place] + 1) % 64
        before, after = logits(model, inputs), logits(model, changed)
        torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-5)
        assert not torch.allclose(before[:, place], after[:, place], atol=1e-3)
        if place < 20:
            assert not torch.allclose(before[:, place + 1], after[:, place + 1], atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_computes_the_same(name: str, kernel: str) -> None:
    inputs, segments = tokens(), torch.tensor([[0] * 9 + [1] * 8 + [-1] * 4, [0] * 21])
    for where in ({}, {"segments": segments}):
        plain, other = (logits(model_of(DECODERS[name], k), inputs, **where) for k in ("plain", kernel))
        torch.testing.assert_close(plain, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_never_changes_another_in_its_row(name: str) -> None:
    model, inputs = model_of(DECODERS[name]), tokens()
    segments = torch.tensor([0] * 8 + [1] * 9 + [-1] * 4).expand(2, -1)
    for changed_segment in (0, 1, -1):
        changed = torch.where(segments == changed_segment, (inputs + 7) % 64, inputs)
        before, after = (logits(model, x, segments=segments) for x in (inputs, changed))
        others = segments != changed_segment
        torch.testing.assert_close(before[others], after[others], rtol=0, atol=1e-5)
        assert not torch.allclose(before[~others], after[~others], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_documents_that_share_a_row_are_read_as_alone(name: str) -> None:
    model, inputs = model_of(DECODERS[name]), tokens(rows=1)
    segments = torch.tensor([[0] * 8 + [1] * 9 + [-1] * 4])
    found = logits(model, inputs, segments=segments)
    for first, last in ((0, 8), (8, 17)):
        alone = logits(model, inputs[:, first:last])
        torch.testing.assert_close(found[:, first:last], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_padding_on_either_side_changes_nothing(name: str) -> None:
    model, inputs = model_of(DECODERS[name]), tokens(length=12)
    wanted = logits(model, inputs)
    for left in (0, 5):
        padded = torch.nn.functional.pad(inputs, (left, 5 - left), value=63)
        places = torch.arange(17) - left
        segments = torch.where((places >= 0) & (places < 12), 0, -1).expand(2, -1)
        for positions in (None, places.clamp(min=0)):
            found = logits(model, padded, segments=segments, positions=positions)
            torch.testing.assert_close(found[:, left : left + 12], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_two_replies_behind_one_prompt_are_those_behind_two(name: str) -> None:
    """Replies share a row by a mask, each at the positions behind the prompt."""
    model, inputs = model_of(DECODERS[name]), tokens(rows=1, length=19)
    prompt, first, second = inputs.split([9, 4, 6], dim=1)
    branches = torch.tensor([0] * 9 + [1] * 4 + [2] * 6)
    mask = torch.ones(19, 19).tril().bool() & ((branches == 0) | (branches[:, None] == branches))
    positions = torch.tensor([*range(13), *range(9, 15)])
    found = logits(model, inputs, mask=mask[None], positions=positions)
    alone = [logits(model, torch.cat([prompt, reply], dim=1))[:, 9:] for reply in (first, second)]
    torch.testing.assert_close(found[:, 9:], torch.cat(alone, dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_batch_do_not_touch_each_other(name: str) -> None:
    model, inputs = model_of(DECODERS[name]), tokens(rows=3)
    together, single = logits(model, inputs), logits(model, inputs[1:2])
    torch.testing.assert_close(together[1:2], single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_computes_near_float32_and_keeps_float32_weights(name: str) -> None:
    model, inputs = Decoder(DECODERS[name]), tokens()
    model.initialize(torch.Generator().manual_seed(0))
    exact = model(inputs, outputs=("logits",))["logits"]
    model.compute_dtype = torch.bfloat16
    rough = model(inputs, outputs=("logits",))["logits"]
    rough.square().sum().backward()
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str) -> None:
    model, inputs = lively(Decoder(DECODERS[name])), tokens()
    model(inputs, outputs=("logits",))["logits"].square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@pytest.mark.parametrize("name", NAMES)
def test_every_block_begins_as_the_identity(name: str) -> None:
    model = Decoder(replace(DECODERS[name], layers=4))
    model.initialize(torch.Generator().manual_seed(0))
    inputs = tokens()
    with torch.no_grad():
        hidden = model(inputs, outputs=("hidden",))["hidden"]
        begin = model.embedding(inputs)
        if model.positions is not None:
            begin = begin + model.positions(torch.arange(21))
        after = model.options.parts.norm_after
        for _ in range(8 if after else 1):
            begin = (model.blocks[0].attention_norm if after else model.final_norm)(begin)
        torch.testing.assert_close(hidden, begin, rtol=1e-5, atol=1e-5)
    for part in model.modules():
        if isinstance(part, LayerNorm | RMSNorm):
            assert torch.equal(part.weight, torch.ones_like(part.weight))
        if getattr(part, "bias", None) is not None:
            assert not part.bias.any()
    assert float(model.embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_flops_count_every_product(name: str) -> None:
    """Twice the weights that multiply a token, and the two products of attention with half of the keys."""
    o = DECODERS[name]
    model = Decoder(o)
    stacks = sum(p.numel() for p in model.parameters() if p.dim() == 3)
    matrices = sum(
        p.numel() for n, p in model.named_parameters() if p.dim() == 2 and not n.startswith(("emb", "pos"))
    )
    active = stacks * o.routing.per_token // o.routing.experts if o.routing else 0
    seen = [[min(t + 1, o.band_of(layer) or 4000) for t in range(4000)] for layer in range(o.layers)]
    products = sum(2 * o.heads * o.head_dim * sum(counts) / 4000 for counts in seen)
    found = model.flops_per_token(4000)
    assert found == pytest.approx(2 * (matrices + active + products + o.width * 64), rel=1e-3)
    assert found - model.flops_per_token(4000, learnt=0.5) == o.width * 64


def test_a_band_saves_what_it_leaves_out() -> None:
    """Two of four layers see at most 900 of 4,000 places."""
    dense, banded = (Decoder(replace(DECODERS["gpt3"], layers=4, band=band)) for band in (4000, 900))
    saved = sum(t + 1 - min(t + 1, 900) for t in range(4000)) / 4000
    found = dense.flops_per_token(4000) - banded.flops_per_token(4000)
    assert found == pytest.approx(2 * 2 * 2 * 32 * saved, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_shard_plan_names_existing_parts(name: str) -> None:
    model = Decoder(DECODERS[name])
    names = {part.replace("blocks.0.", "blocks.*.") for part, _ in model.named_modules()}
    plan = model.shard_plan()
    assert set(plan) <= names
    split = {name.replace("*", "0") for name in plan}
    kept = {part for part, module in model.named_modules() if hasattr(module, "weight")} - split
    whole = {part.rpartition(".")[2] for part in kept if "blocks.1" not in part and "blocks.2" not in part}
    assert whole <= {
        "attention_norm",
        "feed_forward_norm",
        "query_norm",
        "key_norm",
        "final_norm",
        "positions",
        "router",
    }


@pytest.mark.parametrize("place", [0, 6, 11])
def test_beyond_the_band_nothing_is_seen(place: int) -> None:
    options = Gpt3Options(vocab_size=64, width=32, layers=2, heads=4, context=32, band=4)
    model, inputs = model_of(options), tokens()
    model.blocks = model.blocks[1:]  # the banded layer alone
    object.__setattr__(options, "layers", 1)
    object.__setattr__(options, "band_of", lambda layer: 4)
    changed = inputs.clone()
    changed[:, place] = (changed[:, place] + 1) % 64
    differs = (logits(model, inputs) - logits(model, changed)).abs().amax(dim=(0, 2)) > 1e-5
    assert differs.nonzero().flatten().tolist() == list(range(place, place + 4))


def test_every_second_layer_is_banded() -> None:
    options = Gpt3Options(layers=4, band=7)
    assert [options.band_of(layer) for layer in range(4)] == [None, 7, None, 7]


@pytest.mark.parametrize("name", ["gpt1", "gpt2", "gpt3"])
def test_a_position_that_was_never_learnt_is_refused(name: str) -> None:
    model = Decoder(replace(DECODERS[name], context=8))
    with pytest.raises(UserError, match=r"a token stands at position 9 and this model has learnt 8"):
        model(tokens(length=9), outputs=("hidden",))
    with pytest.raises(UserError, match=r"a token stands at position 31 and this model has learnt 8"):
        model(tokens(length=2), outputs=("hidden",), positions=torch.tensor([3, 30]))


def test_what_is_0_follows() -> None:
    options = DecoderOptions(width=48, heads=3, kv_heads=0, head_dim=0, feed_forward=0)
    assert (options.kv_heads, options.head_dim, options.feed_forward) == (3, 16, 192)
    with pytest.raises(UserError, match=r"model\.width=50 is no multiple of model\.heads=3"):
        DecoderOptions(width=50, heads=3, head_dim=0)
    with pytest.raises(UserError, match=r"model\.kv_heads=-1 must be at least 1"):
        DecoderOptions(kv_heads=-1)
