"""The encoder-decoder: what a position may see, positions as waves, pairs that share a row, and decoding by steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.generation.cache import Cache
from chatwright.models.encoder_decoder import (
    EncoderDecoder,
    EncoderDecoderOptions,
    cross_mask,
    positions_of,
    sinusoids,
)
from helpers.weights import stirred

SHAPE = EncoderDecoderOptions(
    vocab_size=50, width=32, encoder_layers=2, decoder_layers=2, heads=2, feed_forward=40, context=24, start=3
)
CPU = torch.device("cpu")


def model_of(**changes: object) -> EncoderDecoder:
    return stirred(EncoderDecoder(replace(SHAPE, **changes))).eval()


def ids(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(seed))


def logits(model: EncoderDecoder, source: torch.Tensor, target: torch.Tensor, **how: object) -> torch.Tensor:
    with torch.no_grad():
        return model(source, decoder_inputs=target, outputs=("logits",), **how)["logits"]


def test_positions_are_sines_then_cosines_of_wavelengths_from_two_pi_to_ten_thousand_times_that() -> None:
    table = sinusoids(12, 8, CPU)
    for position in (0, 1, 7, 11):
        for wave in range(4):
            angle = position / 10_000 ** (2 * wave / 8)
            assert float(table[position, wave]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(table[position, 4 + wave]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_begin_anew_with_every_pair_of_a_row() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1, 2, -1, -1], [0, 1, 1, 1, 1, 1, 1, 1]])
    wanted = [[0, 1, 2, 0, 1, 0, 0, 0], [0, 0, 1, 2, 3, 4, 5, 6]]
    assert positions_of(segments, 8, CPU).tolist() == wanted
    assert positions_of(None, 3, CPU).tolist() == [0, 1, 2]


def test_a_target_sees_all_of_its_source_and_nothing_of_its_own_future() -> None:
    model, source, target = model_of(), ids(1, 7), ids(1, 9, seed=1)
    before = logits(model, source, target)
    for place in range(7):
        changed = source.clone()
        changed[0, place] = (changed[0, place] + 1) % 50
        moved = (logits(model, changed, target) - before).abs().amax(-1)[0]
        assert float(moved.min()) > 1e-5
    for place in range(9):
        changed = target.clone()
        changed[0, place] = (changed[0, place] + 1) % 50
        moved = (logits(model, source, changed) - before).abs().amax(-1)[0]
        assert float(moved[:place].max() if place else 0.0) == 0.0
        assert float(moved[place:].min()) > 1e-5


def test_padding_and_neighbours_in_a_row_change_nothing() -> None:
    model = model_of()
    pairs = [(ids(1, 5), ids(1, 4, seed=1)), (ids(1, 8, seed=2), ids(1, 6, seed=3))]
    alone = [logits(model, source, target) for source, target in pairs]
    packed = [torch.cat((*parts, ids(1, 3, seed=9)), dim=1) for parts in zip(*pairs, strict=True)]
    segments = torch.tensor([[0] * 5 + [1] * 8 + [-1] * 3])
    decoder_segments = torch.tensor([[0] * 4 + [1] * 6 + [-1] * 3])
    together = logits(model, *packed, segments=segments, decoder_segments=decoder_segments)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[:, :4], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[:, 4:10], alone[1], rtol=1e-4, atol=1e-5)
    padded = torch.cat((pairs[0][0], ids(1, 4, seed=8)), dim=1)
    seen = logits(model, padded, pairs[0][1], segments=torch.tensor([[0] * 5 + [-1] * 4]))
    torch.testing.assert_close(seen, alone[0], rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_alone_gives_finite_numbers_and_gradients() -> None:
    model = model_of()
    nothing = torch.full((1, 6), -1)
    targets = torch.full((1, 5), IGNORE)
    found = model(
        ids(1, 6),
        decoder_inputs=ids(1, 5),
        targets=targets,
        segments=nothing,
        decoder_segments=nothing[:, :5],
        outputs=("logprobs", "mean_logprobs"),
    )
    sum(value.sum() for value in found.values()).backward()
    assert not any(value.any() for value in found.values())
    assert not any(p.grad.any() for p in model.parameters())
    seen = cross_mask(torch.tensor([[0, 0]]), torch.tensor([[0, -1]]), 2)
    assert seen is not None
    assert seen.all()


def test_outputs_are_those_of_the_logits() -> None:
    model, source, target = model_of(), ids(2, 6), ids(2, 7, seed=1)
    targets = ids(2, 7, seed=2)
    targets[0, 3] = IGNORE
    with torch.no_grad():
        model.head.bias.normal_(generator=torch.Generator().manual_seed(5))
        for temperature in (1.0, 0.6):
            found = model(
                source,
                decoder_inputs=target,
                targets=targets,
                outputs=("logprobs", "entropy", "mean_logprobs", "logits"),
                temperature=temperature,
            )
            logprobs = found["logits"].log_softmax(-1)
            real = targets != IGNORE
            chosen = logprobs.gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
            torch.testing.assert_close(found["logprobs"], chosen * real, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found["mean_logprobs"], logprobs.mean(-1) * real, rtol=1e-4, atol=1e-5)
            entropy = -(logprobs.exp() * logprobs).sum(-1)
            torch.testing.assert_close(found["entropy"], entropy * real, rtol=1e-4, atol=1e-5)


def test_the_mean_of_log_probabilities_has_the_right_gradient() -> None:
    gradients = []
    for output in ("mean_logprobs", "logits"):
        model, targets = model_of(), ids(2, 5, seed=2)
        found = model(ids(2, 6), decoder_inputs=ids(2, 5, seed=1), targets=targets, outputs=(output,))[output]
        (found if output == "mean_logprobs" else found.log_softmax(-1).mean(-1)).sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, wanted in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], wanted, rtol=1e-3, atol=1e-4, msg=name)


def test_without_decoder_inputs_targets_are_moved_on_behind_the_start() -> None:
    model, source = model_of(), ids(1, 4)
    targets = torch.tensor([[5, 6, 7, IGNORE]])
    given = model(source, decoder_inputs=torch.tensor([[3, 5, 6, 7]]), targets=targets)["logprobs"]
    assert torch.equal(model(source, targets=targets)["logprobs"], given)


@pytest.mark.parametrize("sharing", [1, 3])
def test_step_by_step_with_a_cache_is_the_same(sharing: int) -> None:
    """Several targets may share a source without its keys being copied."""
    model, source, target = model_of(), ids(2, 6), ids(2 * sharing, 5, seed=1)
    whole = logits(model, source.repeat_interleave(sharing, 0), target)
    cache = Cache(2, 2 * sharing, 2, 16, 2)
    with torch.no_grad():
        crossed = model.crossed(model.encode(source))
        for place in range(5):
            inputs, position = target[:, place : place + 1], torch.tensor([place])
            hidden = model.decode(inputs, crossed, position, None, None, cache)
            torch.testing.assert_close(model.logits(hidden[:, 0]), whole[:, place], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_float32() -> None:
    model, source, target = model_of(), ids(2, 8), ids(2, 8, seed=1)
    exact = logits(model, source, target).log_softmax(-1)
    model.compute_dtype = torch.bfloat16
    near = logits(model, source, target).log_softmax(-1)
    assert float((near - exact).abs().mean()) < 0.05 * float(exact.std())


def test_a_text_longer_than_the_context_is_refused() -> None:
    with pytest.raises(UserError, match=r"a text of 25 tokens is longer than this model's 24"):
        logits(model_of(), ids(1, 25), ids(1, 4))
    long_row = torch.arange(30).view(1, 30) % 50
    halves = torch.tensor([[0] * 15 + [1] * 15])
    logits(model_of(), long_row, long_row, segments=halves, decoder_segments=halves)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 33}, "model.width=33 must be even and a multiple of model.heads=2"),
        ({"encoder_layers": 0}, "model.encoder_layers=0 must be at least 1"),
        ({"start": 50}, "model.start=50 is no token of 50"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SHAPE, **changes)


def test_a_new_model_has_every_weight_set_and_blocks_that_pass_on_what_they_get() -> None:
    model = EncoderDecoder(SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    model.initialize(torch.Generator().manual_seed(0))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    normed = torch.nn.functional.layer_norm(x, (32,))
    with torch.no_grad():
        torch.testing.assert_close(model.encoder[0](normed, None), normed, rtol=1e-4, atol=1e-4)


def test_operations_are_two_for_every_weight_that_a_position_meets() -> None:
    model = EncoderDecoder(SHAPE)
    sides = [
        sum(p.numel() for p in side.parameters() if p.dim() == 2) for side in (model.encoder, model.decoder)
    ]
    head = 32 * 50
    assert model.flops_per_token(0, learnt=0.5) == 2 * (sum(sides) / 2 + 0.5 * head)
