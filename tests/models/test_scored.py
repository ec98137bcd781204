"""Decoders that give numbers: where a score stands, what shares the trunk, and what the public format makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.heads.scalar import ScalarHead
from chatwright.models.interop.files import (
    WEIGHTS,
    EndTokens,
    load_model,
    load_reward_model,
    load_trunk,
    write_config,
    write_reward_config,
)
from chatwright.models.interop.weights import public_weights
from chatwright.models.scored import ScoredDecoder, decoder_of
from chatwright.rewards.model import raw_scores
from helpers.weights import stirred

SHAPE = DecoderOptions(
    vocab_size=70, width=32, layers=2, heads=4, kv_heads=2, head_dim=16, feed_forward=40, context=64
)
TOKENS = EndTokens(bos=0, eos=[2, 0], pad=3)
INPUTS = torch.randint(4, 70, (3, 20), generator=torch.Generator().manual_seed(0))


def written(directory: Path, numbers: int = 1, **scale: float) -> ScoredDecoder:
    model = stirred(ScoredDecoder(SHAPE, numbers))
    write_reward_config(directory, model, TOKENS, **scale)
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return model.eval()


def test_a_score_is_the_heads_product_with_the_hidden_state() -> None:
    model = stirred(ScoredDecoder(SHAPE, numbers=3))
    out = model(INPUTS, outputs=("hidden", "scores"))
    assert out["scores"].shape == (3, 20, 3)
    torch.testing.assert_close(out["scores"], out["hidden"] @ model.head.weight.T, rtol=1e-5, atol=1e-5)
    assert model(INPUTS).keys() == {"scores"}


def test_a_score_never_sees_what_comes_after() -> None:
    model = stirred(ScoredDecoder(SHAPE))
    changed = INPUTS.clone()
    changed[:, 11:] = 5
    before, after = (model(ids)["scores"].detach() for ids in (INPUTS, changed))
    torch.testing.assert_close(before[:, :11], after[:, :11], rtol=1e-5, atol=1e-6)
    assert float((before[:, 11:] - after[:, 11:]).abs().min()) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_multiplies_in_float32(dtype: torch.dtype) -> None:
    """Rewards differ by little: products in bfloat16 would round both to one value."""
    head = ScalarHead(64, 1)
    head.initialize(torch.Generator().manual_seed(0))
    hidden = torch.randn(1, 50, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = head(hidden)
    assert (found.dtype, head.weight.dtype) == (torch.float32, torch.float32)
    exact = hidden.double() @ head.weight.double().T
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    assert len(set(found.flatten().tolist())) == 50


def test_the_head_begins_with_the_deviation_of_the_paper() -> None:
    head = ScalarHead(1023, 40)
    head.initialize(torch.Generator().manual_seed(0))
    assert float(head.weight.detach().std()) == pytest.approx(1 / 32, rel=0.02)


def test_a_policy_with_a_value_writes_what_its_trunk_writes() -> None:
    model = stirred(ScoredDecoder(replace(SHAPE, tied=False), language=True))
    wanted = ("logprobs", "entropy", "scores")
    both = model(INPUTS, targets=INPUTS, outputs=wanted, temperature=0.7)
    own = model.trunk(INPUTS, targets=INPUTS, outputs=("logprobs", "entropy"), temperature=0.7)
    assert both.keys() == set(wanted)
    assert torch.equal(both["logprobs"], own["logprobs"])
    assert torch.equal(both["entropy"], own["entropy"])
    # a temperature is of the policy: it divides no value
    assert torch.equal(both["scores"], model(INPUTS)["scores"])
    assert decoder_of(model) is model.trunk
    assert decoder_of(model.trunk) is model.trunk


def test_only_a_policy_keeps_a_language_head_of_its_own() -> None:
    untied = replace(SHAPE, tied=False)
    assert ScoredDecoder(untied).trunk.head is None
    assert ScoredDecoder(untied, language=True).trunk.head is not None
    assert ScoredDecoder(SHAPE).flops_per_token(20) < ScoredDecoder(SHAPE, language=True).flops_per_token(20)


def test_type_and_kernel_are_the_trunks() -> None:
    model = ScoredDecoder(SHAPE)
    model.compute_dtype, model.kernel = torch.bfloat16, "sdpa"
    assert (model.trunk.compute_dtype, model.trunk.kernel) == (torch.bfloat16, "sdpa")
    assert (model.compute_dtype, model.kernel) == (torch.bfloat16, "sdpa")
    assert set(model.shard_plan()) == {f"trunk.{name}" for name in model.trunk.shard_plan()}
    assert model.compilable() == model.trunk.compilable()


@pytest.mark.parametrize("heads", [1, 3])
def test_transformers_gives_the_same_scores(tmp_path: Path, heads: int) -> None:
    """Sequences of different lengths, padded on the right: the score stands at the last token that is not padding."""
    transformers = pytest.importorskip("transformers")
    model = written(tmp_path, heads)
    peer = transformers.Qwen3ForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    lengths = [20, 7, 13]
    padded = torch.full((3, 20), TOKENS.pad)
    for row, size in enumerate(lengths):
        padded[row, :size] = INPUTS[row, :size]
    with torch.no_grad():
        theirs = peer.eval()(padded, attention_mask=(padded != TOKENS.pad).long()).logits
    mine = raw_scores(model, [INPUTS[row, :size].numpy() for row, size in enumerate(lengths)])
    assert theirs.shape == (3, heads)
    torch.testing.assert_close(torch.from_numpy(mine).float(), theirs, rtol=1e-4, atol=1e-4)
    assert float(theirs.std()) > 0.1
    assert peer.config.id2label[0] == ("reward" if heads == 1 else "reward_0")


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    model = written(tmp_path, 2, mean=0.25, deviation=1.5)
    again, mean, deviation = load_reward_model(tmp_path)
    assert (mean, deviation, again.numbers, again.training) == (0.25, 1.5, 2, False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    trunk = ScoredDecoder(SHAPE)
    load_trunk(trunk, tmp_path)
    assert torch.equal(trunk.trunk.embedding.weight, model.trunk.embedding.weight)


@pytest.mark.parametrize("tied", [True, False])
def test_a_trunk_begins_as_a_language_model(tmp_path: Path, tied: bool) -> None:
    options = replace(SHAPE, tied=tied)
    policy = stirred(Decoder(options))
    write_config(tmp_path, options, TOKENS)
    save_weights(tmp_path / WEIGHTS, public_weights(policy), {"format": "pt"})
    value, shared = ScoredDecoder(options), ScoredDecoder(options, language=True)
    for model in (value, shared):
        load_trunk(model, tmp_path)
        assert torch.equal(
            model.trunk(INPUTS, outputs=("hidden",))["hidden"], policy(INPUTS, outputs=("hidden",))["hidden"]
        )
    logs = [m(INPUTS, targets=INPUTS, outputs=("logprobs",))["logprobs"] for m in (shared, policy)]
    assert torch.equal(*logs)
    assert public_weights(shared).keys() == public_weights(policy).keys(), (
        "a policy is published without its value"
    )


def test_confidence_begins_as_nothing_and_never_sees_padding() -> None:
    """It reads the reply's own log-probabilities, whatever the row is padded with."""
    model = stirred(ScoredDecoder(SHAPE, confidence=True))
    sequences = [INPUTS[row, :size].numpy() for row, size in enumerate((20, 7, 13))]
    starts = [5, 3, 4]
    together = raw_scores(model, sequences, starts=starts)
    alone = [
        raw_scores(model, [ids], starts=[start])[0] for ids, start in zip(sequences, starts, strict=True)
    ]
    assert together[:, 0].tolist() == pytest.approx([float(row[0]) for row in alone], abs=1e-5)
    before = ScoredDecoder(SHAPE)
    before.load_state_dict({n: p for n, p in model.state_dict().items() if not n.startswith("confidence")})
    assert abs(together - raw_scores(before, sequences)).max() > 1e-3
    assert model.confidence is not None
    model.confidence.initialize(torch.Generator().manual_seed(0))
    assert raw_scores(model, sequences, starts=starts) == pytest.approx(
        raw_scores(before, sequences), abs=1e-6
    )


def test_a_reward_model_writes_no_text_and_a_language_model_gives_no_score(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(UserError, match="holds a reward model, which gives scores and writes no text"):
        load_model(tmp_path)
    write_config(tmp_path, SHAPE, TOKENS)
    with pytest.raises(UserError, match="holds no reward model; make one with `chatwright reward`"):
        load_reward_model(tmp_path)
    write_reward_config(tmp_path, ScoredDecoder(SHAPE, 4), TOKENS)
    with pytest.raises(UserError, match=r"hold no score\.weight of shape \(4, 32\)"):
        load_reward_model(tmp_path)
