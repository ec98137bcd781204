"""Heads over trunks of every kind: what each reads, and what it gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.headed import Headed, own_pooling, trunk_of
from chatwright.models.heads.labels import CHOICE, NEXT_SENTENCE, SPAN, HeadOptions, Pooling, numbered, pool
from chatwright.models.root import Root
from chatwright.optim.groups import group_parameters
from helpers.weights import stirred

HEADS = {
    "next_sentence": NEXT_SENTENCE,
    "tags": numbered(3, "token"),
    "answer": SPAN,
    "choice": CHOICE,
    "amount": HeadOptions("regression", ("low", "high")),
    "vector": HeadOptions("embedding"),
    "direction": HeadOptions("embedding", pooling="cls", normalized=True),
}
SHAPES = {
    "next_sentence": (3, 2),
    "tags": (3, 8, 3),
    "answer": (3, 8, 2),
    "choice": (3,),
    "amount": (3, 2),
    "vector": (3, 16),
    "direction": (3, 16),
}
REAL = torch.arange(8) < torch.tensor([8, 5, 1])[:, None]
SEGMENTS = torch.where(REAL, 0, -1)
INPUTS = torch.randint(0, 40, (3, 8), generator=torch.Generator().manual_seed(0))


def encoder(pooler: bool = True) -> Encoder:
    return Encoder(
        EncoderOptions(vocab_size=40, width=16, layers=2, heads=2, feed_forward=24, context=16, pooler=pooler)
    )


def decoder() -> Decoder:
    return Decoder(
        DecoderOptions(
            vocab_size=40, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, feed_forward=24, context=16
        )
    )


TRUNKS = {"pooled": encoder, "cls": lambda: encoder(pooler=False), "last": decoder}


@pytest.fixture(params=TRUNKS)
def headed(request: pytest.FixtureRequest) -> Headed:
    return stirred(Headed(TRUNKS[request.param](), HEADS)).eval()


@torch.no_grad()
def ask(
    model: Root, *outputs: str, inputs: Tensor = INPUTS, segments: Tensor = SEGMENTS
) -> dict[str, Tensor]:
    return model(inputs, segments=segments, outputs=outputs)


def test_every_head_gives_its_shape_in_float32(headed: Headed) -> None:
    headed.compute_dtype = torch.bfloat16
    assert headed.trunk.compute_dtype == torch.bfloat16
    out = ask(headed, *HEADS)
    assert {name: tuple(value.shape) for name, value in out.items()} == SHAPES
    assert {value.dtype for value in out.values()} == {torch.float32}
    assert torch.allclose(out["direction"].norm(dim=-1), torch.ones(3), atol=1e-5)


def test_only_what_is_asked_for_is_given(headed: Headed) -> None:
    assert list(ask(headed, "tags")) == ["tags"]
    out = headed(INPUTS, segments=SEGMENTS, targets=INPUTS, outputs=("logprobs", "next_sentence"))
    assert list(out) == ["logprobs", "next_sentence"]
    bare = headed.trunk(INPUTS, segments=SEGMENTS, targets=INPUTS, outputs=("logprobs",))
    assert torch.equal(out["logprobs"], bare["logprobs"])


@pytest.mark.parametrize("kind", TRUNKS)
def test_rows_are_summed_up_in_the_trunks_own_way(kind: Pooling) -> None:
    model = stirred(Headed(TRUNKS[kind](), HEADS)).eval()
    assert own_pooling(model.trunk) == kind == model.pooling("next_sentence")
    assert (model.pooling("vector"), model.pooling("tags")) == ("mean", None)
    hidden = ask(model.trunk, "hidden")["hidden"]
    state = ask(model.trunk, "pooled")["pooled"] if kind == "pooled" else pool(hidden, REAL, kind)
    with torch.no_grad():
        wanted = model.head["next_sentence"](state)
        spans = model.head["answer"](hidden)
    out = ask(model, "next_sentence", "answer", "vector")
    torch.testing.assert_close(out["next_sentence"], wanted)
    torch.testing.assert_close(out["answer"], spans)
    torch.testing.assert_close(out["vector"], pool(hidden, REAL, "mean"))


def test_padding_moves_no_head_over_rows(headed: Headed) -> None:
    rows = [name for name in HEADS if SHAPES[name][1:2] != (8,)]
    other = torch.where(REAL, INPUTS, (INPUTS + 7) % 40)
    before, after = ask(headed, *rows), ask(headed, *rows, inputs=other)
    alone = headed(INPUTS[1:2, :5], outputs=tuple(rows))
    for name in rows:
        torch.testing.assert_close(after[name], before[name])
        torch.testing.assert_close(before[name][1:2], alone[name], rtol=1e-4, atol=1e-5)


def test_what_is_said_with_causal_reaches_the_trunk() -> None:
    model = stirred(Headed(encoder(), HEADS)).eval()
    other = INPUTS.clone()
    other[:, 5] = (other[:, 5] + 1) % 40
    real = torch.zeros_like(INPUTS)
    before, after = (
        model(ids, segments=real, causal=True, outputs=("tags",))["tags"] for ids in (INPUTS, other)
    )
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5], after[:, 5])


def test_first_weights_are_drawn_from_the_generator_alone(headed: Headed) -> None:
    drawn = []
    for seed in (1, 1, 2):
        headed.initialize(torch.Generator().manual_seed(seed))
        drawn.append({name: p.detach().clone() for name, p in headed.named_parameters()})
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not torch.equal(drawn[0]["head.tags.weight"], drawn[2]["head.tags.weight"])
    trunk = {name: p.detach().clone() for name, p in headed.trunk.named_parameters()}
    headed.initialize_heads(torch.Generator().manual_seed(5))
    assert all(torch.equal(p, trunk[name]) for name, p in headed.trunk.named_parameters())


def test_gradients_reach_trunk_and_head(headed: Headed) -> None:
    targets = INPUTS.masked_fill(~REAL, IGNORE)
    out = headed(INPUTS, segments=SEGMENTS, targets=targets, outputs=("logprobs", *HEADS))
    sum(value.square().sum() for value in out.values()).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in headed.parameters())
    assert all(bool(p.grad.any()) for n, p in headed.named_parameters() if n.startswith("head."))


def test_optimizers_treat_heads_as_tables_and_blocks_as_matrices(headed: Headed) -> None:
    groups = group_parameters({"policy": headed})
    assert "policy.head.tags.weight" in groups.tables.names
    assert "policy.trunk.blocks.0.attention.query.weight" in groups.matrices.names


def test_a_headed_root_is_its_trunk_in_all_else(headed: Headed) -> None:
    headed.kernel = "sdpa"
    assert headed.trunk.kernel == "sdpa"
    assert headed.options is headed.trunk.options
    assert headed.compilable() == headed.trunk.compilable()
    assert headed.flops_per_token(8, 0.5) == headed.trunk.flops_per_token(8, 0.5)
    assert trunk_of(headed) is headed.trunk is trunk_of(headed.trunk)
