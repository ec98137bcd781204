"""The decoder: nothing leaks from later tokens or other documents; outputs agree with each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.attention import KERNELS
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.objectives.causal import tiny_decoder
from helpers.weights import stirred

SHAPE = DecoderOptions(
    vocab_size=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, feed_forward=48, context=32
)


def model_of(options: DecoderOptions, kernel: str = "plain") -> Decoder:
    model = stirred(Decoder(options))
    model.kernel = kernel
    return model.eval()


def tokens(rows: int = 2, length: int = 21, seed: int = 0) -> Tensor:
    return torch.randint(0, 64, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("place", [0, 1, 9, 20])
def test_a_token_never_changes_what_stands_before_it(kernel: str, segmented: bool, place: int) -> None:
    model, inputs = model_of(SHAPE, kernel), tokens()
    segments = (torch.arange(21) // 6).expand(2, -1) if segmented else None
    changed = inputs.clone()
    changed[:, place] = (changed[:, place] + 1) % 64
    with torch.no_grad():
        before, after = (
            model(x, segments=segments, outputs=("logits",))["logits"] for x in (inputs, changed)
        )
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.equal(before[:, place], after[:, place])
    if place < 20 and (segments is None or segments[0, place] == segments[0, place + 1]):
        assert not torch.allclose(before[:, place + 1], after[:, place + 1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_document_never_changes_another_in_its_row(kernel: str) -> None:
    model, inputs = model_of(SHAPE, kernel), tokens()
    segments = torch.tensor([0] * 8 + [1] * 9 + [-1] * 4).expand(2, -1)
    targets = inputs.roll(-1, dims=1)
    for changed_segment in (0, 1):
        changed = torch.where(segments == changed_segment, (inputs + 7) % 64, inputs)
        with torch.no_grad():
            before, after = (
                model(x, targets=targets, segments=segments)["logprobs"] for x in (inputs, changed)
            )
        others = segments != changed_segment
        assert torch.equal(before[others], after[others])
        assert not torch.allclose(before[~others], after[~others])


def test_without_segments_documents_do_see_each_other() -> None:
    model, inputs = model_of(SHAPE), tokens()
    changed = inputs.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 64
    with torch.no_grad():
        before, after = (model(x, outputs=("logits",))["logits"] for x in (inputs, changed))
    assert not torch.allclose(before[:, -1], after[:, -1])


def test_padding_behind_a_text_changes_nothing() -> None:
    model, inputs = model_of(SHAPE), tokens(length=12)
    padded = torch.nn.functional.pad(inputs, (0, 5), value=63)
    segments = (torch.arange(17) >= 12).int().neg().expand(2, -1)
    with torch.no_grad():
        plain = model(inputs, outputs=("logits",))["logits"]
        long = model(padded, segments=segments, outputs=("logits",))["logits"]
    torch.testing.assert_close(long[:, :12], plain, rtol=1e-5, atol=1e-5)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    model, inputs = model_of(SHAPE), tokens(rows=3)
    with torch.no_grad():
        together = model(inputs, outputs=("logits",))["logits"]
        single = model(inputs[1:2], outputs=("logits",))["logits"]
    torch.testing.assert_close(together[1:2], single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_outputs_agree(tied: bool) -> None:
    model, inputs = model_of(replace(SHAPE, tied=tied)), tokens()
    targets = inputs.roll(-1, dims=1)
    targets[:, -1] = IGNORE
    with torch.no_grad():
        out = model(inputs, targets=targets, outputs=("logits", "logprobs", "entropy", "hidden"))
    table = out["logits"].log_softmax(-1)
    wanted = table.gather(-1, targets.clamp(min=0)[..., None])[..., 0].masked_fill(targets == IGNORE, 0.0)
    torch.testing.assert_close(out["logprobs"], wanted, rtol=1e-5, atol=1e-5)
    entropy = -(table.exp() * table).sum(-1).masked_fill(targets == IGNORE, 0.0)
    torch.testing.assert_close(out["entropy"], entropy, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out["hidden"] @ model.head_weight.T, out["logits"])


def test_bfloat16_computes_near_float32_and_keeps_float32_weights() -> None:
    model, inputs = tiny_decoder(), tokens()
    exact = model(inputs, outputs=("logits",))["logits"]
    model.compute_dtype = torch.bfloat16
    rough = model(inputs, outputs=("logits",))["logits"]
    rough.sum().backward()
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (tiny_decoder(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_every_block_begins_as_the_identity() -> None:
    model = Decoder(replace(SHAPE, width=128, layers=8))
    model.initialize(torch.Generator().manual_seed(0))
    inputs = tokens()
    with torch.no_grad():
        hidden = model(inputs, outputs=("hidden",))["hidden"]
        torch.testing.assert_close(hidden, model.final_norm(model.embedding(inputs)))
        block = model.blocks[3]
        assert float(block.attention.query.weight.std()) == pytest.approx(128**-0.5, rel=0.1)
        assert float(model.embedding.weight.std()) == pytest.approx(0.02, rel=0.1)
        assert torch.equal(block.attention_norm.weight, torch.ones(128))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kv_heads": 3}, "model.kv_heads=3 does not divide model.heads=4"),
        ({"head_dim": 7}, "model.head_dim=7 must be even"),
        ({"layers": 0}, "model.layers=0 must be at least 1"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SHAPE, **fields)


def test_flops_count_every_product() -> None:
    """Twice the weights that multiply, and the two products of attention."""
    model = Decoder(SHAPE)
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "embedding" not in n)
    head = 64 * 32
    attention = SHAPE.layers * SHAPE.heads * SHAPE.head_dim * 16
    assert model.flops_per_token(16) == 2 * (matrices + head + attention)


def test_the_shard_plan_names_existing_parts() -> None:
    model = Decoder(SHAPE)
    names = {name.replace("blocks.0.", "blocks.*.") for name, _ in model.named_modules()}
    assert set(model.shard_plan()) <= names
